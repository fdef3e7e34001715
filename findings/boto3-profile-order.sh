#!/usr/bin/env bash
# boto3 1.44.8 (botocore 1.44.8): which profile counts where both of its variables are set, and one that is empty.
#
# One would guess: as for the AWS CLI (version 2) and the other SDKs, AWS_PROFILE counts before the older
# AWS_DEFAULT_PROFILE, and a variable that is set to nothing counts as not set, as it does for
# AWS_ACCESS_KEY_ID in the same library.
# It is so: AWS_DEFAULT_PROFILE counts first, so that `AWS_PROFILE=other command` is not heard where a start-up file
# exports the older name; and an empty one of either is a profile of no name, which "could not be found", even where
# the other variable is set. Nor is AWS_REGION read, in any of these.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check boto3==1.44.8 botocore==1.44.8

cat >"$folder/config" <<'END'
[profile new]
region = eu-west-1
[profile old]
region = eu-west-3
END

# seen NAME=VALUE...: the profile and the region of a session, or its error, with these variables alone.
seen() {
    env -i PATH="$PATH" HOME="$folder" AWS_CONFIG_FILE="$folder/config" AWS_EC2_METADATA_DISABLED=true "$@" \
        "$folder/venv/bin/python" -c '
import boto3, botocore.exceptions
try:
    session = boto3.Session()
    print(session.profile_name, session.region_name)
except botocore.exceptions.ProfileNotFound as error:
    print(error)'
}

# is WHAT EXPECTED: says what was seen; fails where it is not what this finding says.
is() {
    echo "$1"
    if [ "$1" != "$2" ]; then
        echo "it was: $2" >&2
        exit 1
    fi
}

is "$(seen AWS_PROFILE=new AWS_DEFAULT_PROFILE=old)" "old eu-west-3"
is "$(seen AWS_PROFILE=new AWS_DEFAULT_PROFILE=)" "The config profile () could not be found"
is "$(seen AWS_PROFILE=)" "The config profile () could not be found"
is "$(seen AWS_PROFILE=new AWS_REGION=us-west-2)" "new eu-west-1"

# Seen:
#   old eu-west-3
#   The config profile () could not be found
#   The config profile () could not be found
#   new eu-west-1
