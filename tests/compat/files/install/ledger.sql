BEGIN TRANSACTION;
CREATE TABLE calls (
    id           INTEGER PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    action       TEXT NOT NULL,
    token        TEXT,
    parameters   TEXT NOT NULL,              -- JSON, secrets left out
    started_wall TEXT NOT NULL,
    ended_wall   TEXT,
    result       TEXT,                       -- JSON
    error        TEXT
) STRICT;
CREATE TABLE facts (
    id      INTEGER PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,                   -- JSON
    UNIQUE (host_id, name)
) STRICT;
INSERT INTO "facts" VALUES(1,1,'os.id','"debian"');
INSERT INTO "facts" VALUES(2,1,'os.version','"12"');
INSERT INTO "facts" VALUES(3,1,'os.variant','""');
INSERT INTO "facts" VALUES(4,1,'os.pretty','"Debian GNU/Linux 12 (bookworm)"');
INSERT INTO "facts" VALUES(5,1,'arch','"x86_64"');
INSERT INTO "facts" VALUES(6,1,'kernel','"6.18.44-fc-v657"');
INSERT INTO "facts" VALUES(7,1,'glibc','"2.36"');
INSERT INTO "facts" VALUES(8,1,'manager','"apt"');
INSERT INTO "facts" VALUES(9,1,'python','"3.11"');
INSERT INTO "facts" VALUES(10,1,'init','"tini"');
INSERT INTO "facts" VALUES(11,1,'virt','"unknown"');
INSERT INTO "facts" VALUES(12,1,'cpu.model','"Intel(R) Xeon(R) Processor"');
INSERT INTO "facts" VALUES(13,1,'cpu.count','2');
INSERT INTO "facts" VALUES(14,1,'cpu.flags.avx2','true');
INSERT INTO "facts" VALUES(15,1,'cpu.flags.avx512','true');
INSERT INTO "facts" VALUES(16,1,'cpu.flags.bf16','true');
INSERT INTO "facts" VALUES(17,1,'memory.mib','24152');
INSERT INTO "facts" VALUES(18,1,'memory.available_mib','20381');
INSERT INTO "facts" VALUES(19,1,'memory.limit_mib','null');
INSERT INTO "facts" VALUES(20,1,'swap.mib','0');
INSERT INTO "facts" VALUES(21,1,'disk.free_mib','21805');
INSERT INTO "facts" VALUES(22,1,'tmp.on_tmpfs_mib','null');
INSERT INTO "facts" VALUES(23,1,'gpu.count','0');
INSERT INTO "facts" VALUES(24,1,'gpu.driver','null');
INSERT INTO "facts" VALUES(25,1,'cloud_init','false');
INSERT INTO "facts" VALUES(26,1,'import.cold_seconds','2.6');
INSERT INTO "facts" VALUES(27,1,'import.warm_seconds','1.11');
INSERT INTO "facts" VALUES(28,1,'torch','"2.13.0+cpu"');
INSERT INTO "facts" VALUES(29,1,'torch.build','"cpu"');
INSERT INTO "facts" VALUES(30,1,'fastest.threads','1');
INSERT INTO "facts" VALUES(31,1,'fastest.precision','"bf16"');
INSERT INTO "facts" VALUES(32,1,'fastest.kernel','"pytorch"');
INSERT INTO "facts" VALUES(33,1,'first_checkpoint.val_loss','3.3455031043348313');
INSERT INTO "facts" VALUES(34,1,'iterations','20');
INSERT INTO "facts" VALUES(35,1,'split','"interleaved"');
INSERT INTO "facts" VALUES(36,1,'threads','1');
INSERT INTO "facts" VALUES(37,1,'precision','"bf16"');
INSERT INTO "facts" VALUES(38,1,'training.kernel','"pytorch"');
INSERT INTO "facts" VALUES(39,1,'corpus.sha256','"366549425faf1375ce088dca7075b69692356a5c1a97a0de88e183d5f68189a7"');
INSERT INTO "facts" VALUES(40,1,'steal.percent','0.0');
INSERT INTO "facts" VALUES(41,1,'cpu.others.percent','53.5');
INSERT INTO "facts" VALUES(42,1,'memory.pressure.percent','0.0');
INSERT INTO "facts" VALUES(43,1,'swapped.mib','0.0');
INSERT INTO "facts" VALUES(44,1,'checkpoint','"/root/charrnn/cv/lm_shakespeare_epoch0.01_3.3455"');
INSERT INTO "facts" VALUES(45,1,'session.kind','"tmux"');
INSERT INTO "facts" VALUES(46,1,'session.name','"train"');
CREATE TABLE hosts (
    id              INTEGER PRIMARY KEY,
    run_id          TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    distro          TEXT NOT NULL,
    provider_id     TEXT,
    address         TEXT,
    status          TEXT NOT NULL DEFAULT 'planned'
                    CHECK (status IN ('planned', 'running', 'ok', 'failed', 'interrupted')),
    failure_class   TEXT,
    failure_message TEXT,
    failed_phase    TEXT,
    log_tail        TEXT,
    cost            REAL,                    -- US dollars to the first checkpoint, where a price was known
    UNIQUE (run_id, name)
) STRICT;
INSERT INTO "hosts" VALUES(1,'5bt3ch','ip-127-60-77-1','debian',NULL,NULL,'ok',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE phases (
    id           INTEGER PRIMARY KEY,
    host_id      INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    source       TEXT NOT NULL CHECK (source IN ('host', 'launcher')),
    parent       INTEGER REFERENCES phases (id) ON DELETE CASCADE, -- the phase it happened inside of, where there is one
    path         TEXT NOT NULL,              -- install/packages/lock: a parent contains its children
    category     TEXT NOT NULL CHECK (category IN ('wait', 'network', 'disk', 'compute', 'mixed')),
    status       TEXT NOT NULL CHECK (status IN ('open', 'ok', 'failed', 'skipped', 'unchanged')),
    boot         TEXT NOT NULL,
    started      REAL NOT NULL,
    ended        REAL,                       -- unknown when the host died or rebooted inside the phase
    started_wall TEXT NOT NULL,
    detail       TEXT NOT NULL DEFAULT '{}'
) STRICT;
INSERT INTO "phases" VALUES(1,1,'host',NULL,'install','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7159.31,7231.64,'2026-11-27T20:07:31.097Z','{}');
INSERT INTO "phases" VALUES(2,1,'host',1,'install/preflight','disk','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7159.31,7159.42,'2026-11-27T20:07:31.097Z','{}');
INSERT INTO "phases" VALUES(3,1,'host',1,'install/packages','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7159.48,7172.67,'2026-11-27T20:07:31.266Z','{}');
INSERT INTO "phases" VALUES(4,1,'host',3,'install/packages/refresh','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7159.5,7161.77,'2026-11-27T20:07:31.288Z','{}');
INSERT INTO "phases" VALUES(5,1,'host',3,'install/packages/install','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7161.78,7172.55,'2026-11-27T20:07:33.563Z','{}');
INSERT INTO "phases" VALUES(6,1,'host',1,'install/python','disk','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7172.95,7172.95,'2026-11-27T20:07:44.734Z','{}');
INSERT INTO "phases" VALUES(7,1,'host',1,'install/uv','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7172.95,7177.46,'2026-11-27T20:07:44.740Z','{}');
INSERT INTO "phases" VALUES(8,1,'host',1,'install/project','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7177.47,7179.78,'2026-11-27T20:07:49.254Z','{}');
INSERT INTO "phases" VALUES(9,1,'host',1,'install/tools','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7180.29,7192.1,'2026-11-27T20:07:52.074Z','{"text": "curl tmux git gcc libc6-dev"}');
INSERT INTO "phases" VALUES(10,1,'host',9,'install/tools/refresh','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7180.3,7181.47,'2026-11-27T20:07:52.082Z','{}');
INSERT INTO "phases" VALUES(11,1,'host',9,'install/tools/install','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7181.47,7192.1,'2026-11-27T20:07:53.253Z','{}');
INSERT INTO "phases" VALUES(12,1,'host',1,'install/driver','mixed','skipped','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7192.1,7192.1,'2026-11-27T20:08:03.889Z','{}');
INSERT INTO "phases" VALUES(13,1,'host',1,'install/torch','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7192.1,7196.4,'2026-11-27T20:08:03.889Z','{"text": "2.13.0, cpu build (no NVIDIA GPU on the PCI bus), from the host''s pip settings"}');
INSERT INTO "phases" VALUES(14,1,'host',1,'install/links','disk','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7196.4,7196.4,'2026-11-27T20:08:08.186Z','{}');
INSERT INTO "phases" VALUES(15,1,'host',1,'install/corpora','network','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7196.4,7199.33,'2026-11-27T20:08:08.186Z','{}');
INSERT INTO "phases" VALUES(16,1,'host',1,'install/verify','compute','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7199.33,7208.71,'2026-11-27T20:08:11.113Z','{"text": "torch 2.13.0+cpu trains as nobody"}');
INSERT INTO "phases" VALUES(17,1,'host',1,'install/threads','compute','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7208.71,7231.64,'2026-11-27T20:08:20.498Z','{"text": "fastest here: pytorch kernel, bf16, threads: 1"}');
INSERT INTO "phases" VALUES(18,1,'host',NULL,'first-checkpoint','compute','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7231.89,7236.39,'2026-11-27T20:08:43.674Z','{}');
INSERT INTO "phases" VALUES(19,1,'host',18,'first-checkpoint/start','mixed','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7231.89,7233.96,'2026-11-27T20:08:43.674Z','{}');
INSERT INTO "phases" VALUES(20,1,'host',18,'first-checkpoint/train','compute','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7233.96,7234.707544643,'2026-11-27T20:08:45.744Z','{}');
INSERT INTO "phases" VALUES(21,1,'host',18,'first-checkpoint/evaluate','compute','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7234.707544643,7236.38,'2026-11-27T20:08:46.491Z','{}');
INSERT INTO "phases" VALUES(22,1,'host',18,'first-checkpoint/save','disk','ok','e794bea1-2bb2-45fe-b64f-2d7bf949266c',7236.38,7236.39,'2026-11-27T20:08:48.164Z','{}');
CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    name         TEXT,
    provider     TEXT NOT NULL,
    command      TEXT NOT NULL,              -- JSON: argv
    settings     TEXT NOT NULL DEFAULT '{}', -- JSON: what was asked for
    seed         INTEGER,
    version      TEXT NOT NULL,              -- of this tool
    status       TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'ok', 'failed', 'interrupted')),
    started_wall TEXT NOT NULL,
    ended_wall   TEXT
) STRICT;
INSERT INTO "runs" VALUES('5bt3ch',NULL,'local','["bootstrap.sh", "--first-checkpoint", "--iterations", "20"]','{}',NULL,'0.1.0','ok','2026-11-27T20:07:31.097Z','2026-11-27T20:08:48.357Z');
CREATE INDEX phases_host ON phases (host_id);
CREATE INDEX phases_parent ON phases (parent);
COMMIT;
PRAGMA user_version=1;
