#!/usr/bin/env bash
# paramiko 5.1.0: a key file that the server refuses is an authentication error for one kind of key only.
#
# One would guess: SSHClient.connect(key_filename=...) raises AuthenticationException when the server refuses the key.
# What is so: for an Ed25519 key it does; for RSA and ECDSA keys it raises a bare SSHException ("Invalid key"), since
# the same file is tried as each other kind afterwards, and the last error is raised. With pkey=PKey.from_path(file)
# every kind raises AuthenticationException.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet paramiko==5.1.0 cryptography==50.0.2
cd "$work"
for kind in ed25519 rsa ecdsa; do ssh-keygen -q -t "$kind" -N "" -f "$work/$kind"; done
cat >refused.py <<'X'
import logging, socket, threading
import paramiko

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class Nobody(paramiko.ServerInterface):
    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_FAILED


def serve(listening):
    while True:
        transport = paramiko.Transport(listening.accept()[0])
        transport.add_server_key(paramiko.Ed25519Key.from_private_key_file("ed25519"))
        transport.start_server(server=Nobody())


def login(port, **key):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    try:
        client.connect("127.0.0.1", port, "me", allow_agent=False, look_for_keys=False, **key)
    except paramiko.SSHException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()


listening = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listening,), daemon=True).start()
port = listening.getsockname()[1]
print("paramiko", paramiko.__version__)
for kind in ("ed25519", "rsa", "ecdsa"):
    print(f"{kind}: key_filename: {login(port, key_filename=kind)}")
    print(f"{kind}: pkey: {login(port, pkey=paramiko.PKey.from_path(kind))}")
X
"$work/venv/bin/python" refused.py | tee seen
cat >expected <<'X'
paramiko 5.1.0
ed25519: key_filename: AuthenticationException: Authentication failed.
ed25519: pkey: AuthenticationException: Authentication failed.
rsa: key_filename: SSHException: Invalid key
rsa: pkey: AuthenticationException: Authentication failed.
ecdsa: key_filename: SSHException: Invalid key
ecdsa: pkey: AuthenticationException: Authentication failed.
X
diff expected seen
