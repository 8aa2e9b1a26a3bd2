#!/bin/sh
# Create a virtual environment and install a lock into it: install.sh VENV LOCK
# PYTHON names the Python to use. The default is the first suitable one on the PATH.
set -eu
umask 022 # for root, PostgreSQL runs as another user and must be able to read its programs
venv=$1
lock=$2

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
fail() {
    echo "$1" >&2
    exit 1
}

chosen=
without_venv=
found=
for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    command -v "$python" >/dev/null && version_of "$python" >/dev/null || continue
    found="${found:+$found, }$python is $(version_of "$python")"
    is_new_enough "$python" || continue
    if can_make_venvs "$python"; then
        chosen=$python
        break
    fi
    without_venv=${without_venv:-$python}
done

if [ -z "$chosen" ] && [ -n "$without_venv" ]; then
    fail "$without_venv cannot make virtual environments: install its package, on Debian and Ubuntu with
    apt-get install $(basename "$without_venv")-venv"
elif [ -z "$chosen" ]; then
    fail "Python 3.11 or newer is needed (${found:-no Python was found}): install one, or name it with PYTHON=…"
fi

echo "Installing into $venv with $("$chosen" --version) …"
rm -rf "$venv"
"$chosen" -m venv "$venv"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
