#!/usr/bin/env bash
# boto3 1.44.8 (botocore 1.44.8): a role that asks for an MFA code, in a program that has no terminal.
#
# One would guess: an error of boto3's that says so; and a program that is fed by a pipe keeps what is in it.
# It is so: the code is asked for by Python's getpass, which without a terminal warns, prompts on standard error and
# reads a line of standard input. The first line of a program's data is taken for the code and sent off; where the
# input is empty the call ends with EOFError, which command-line libraries (click) take for the user's Ctrl-D, and
# tell as "Aborted". `warnings.filterwarnings("error", category=getpass.GetPassWarning)` makes an error of it, before
# anything is read.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check boto3==1.44.8 botocore==1.44.8

cat >"$folder/config" <<'END'
[profile careful]
region = us-east-1
role_arn = arn:aws:iam::111111111111:role/example
source_profile = base
mfa_serial = arn:aws:iam::111111111111:mfa/example
[profile base]
aws_access_key_id = example
aws_secret_access_key = example
END
cat >"$folder/ask.py" <<'END'
import getpass, http.server, os, sys, threading, urllib.parse, warnings
import boto3

codes = []

class Sts(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        codes.extend(body.get("TokenCode", []))
        answer = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Sts)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
if sys.argv[1:] == ["strict"]:
    warnings.filterwarnings("error", category=getpass.GetPassWarning)
try:
    boto3.Session(profile_name="careful").client("sts").get_caller_identity()
except Exception as error:
    print(type(error).__name__, codes, repr(sys.stdin.readline()))
END

# seen MODE: what the program met, which codes it sent, and the next line of its input. Without a terminal.
seen() {
    env -i PATH="$PATH" HOME="$folder" AWS_CONFIG_FILE="$folder/config" AWS_EC2_METADATA_DISABLED=true \
        setsid "$folder/venv/bin/python" "$folder/ask.py" "$@" 2>/dev/null
}

# is WHAT EXPECTED: says what was seen; fails where it is not what this finding says.
is() {
    echo "$1"
    if [ "$1" != "$2" ]; then
        echo "it was: $2" >&2
        exit 1
    fi
}

is "$(printf '654321\nsecond\n' | seen)" "ClientError ['654321'] 'second\\n'"
is "$(seen </dev/null)" "EOFError [] ''"
is "$(printf '654321\nsecond\n' | seen strict)" "GetPassWarning [] '654321\\n'"

# Seen:
#   ClientError ['654321'] 'second\n'
#   EOFError [] ''
#   GetPassWarning [] '654321\n'
