#!/usr/bin/env bash
# LC_ALL=C makes programs in C speak English whatever LANGUAGE says; programs in Python not.
#
# Guess: LC_ALL=C turns translations off, for Python's module `gettext` as for the C library's.
# So:    the C library ignores LANGUAGE in the locale C (not in C.UTF-8); Python's `gettext` asks LANGUAGE first, in any
#        locale. So `LANGUAGE=de LC_ALL=C dnf install no-such-package` is answered in German; LANGUAGE must be unset.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check pycountry==24.6.1 2>/dev/null
cat >"$work/say.py" <<'PY'
import gettext, locale, sys
import pycountry

locale.setlocale(locale.LC_ALL, "")
if sys.argv[1] == "libc":  # the module `locale` has the C library's own functions
    locale.bindtextdomain("iso3166-1", pycountry.LOCALES_DIR)
    print(locale.dgettext("iso3166-1", "Germany"))
else:
    print(gettext.translation("iso3166-1", pycountry.LOCALES_DIR, fallback=True).gettext("Germany"))
PY
say() { LANGUAGE=de LC_ALL=$1 "$work/venv/bin/python" "$work/say.py" "$2"; }

"$work/venv/bin/python" --version
c=$(say C libc) utf8=$(say C.UTF-8 libc) python=$(say C python)
echo "LANGUAGE=de: C library in C: $c; in C.UTF-8: $utf8; Python's gettext in C: $python"
[ "$c $utf8 $python" = 'Germany Deutschland Deutschland' ] || { echo 'it is otherwise now'; exit 1; }
