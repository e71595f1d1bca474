# Read by the commands beside it. Sets `root`, and has .venv ready for `kind` (base or test).
# When it is ready, that costs a comparison of files; else make_venv.py makes it, or brings it up to date.

root=$(dirname "$(readlink -f "$0")")
while [ ! -e "$root/pyproject.toml" ]; do root=$(dirname "$root"); done

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return
        fi
    done
    echo "warmlane: needs Python 3.11 or newer, and found none on PATH as python3 (on Debian: apt-get install python3 python3-venv)" >&2
    exit 1
}

wanted=$(echo "$root"; cat "$root/pyproject.toml" "$root/constraints.txt")
if [ ! -x "$root/.venv/bin/python" ] || [ "$(cat "$root/.venv/warmlane-$kind.stamp" 2>/dev/null)" != "$wanted" ]; then
    find_python
    "$python" "$root/tools/make_venv.py" "$kind"
fi
