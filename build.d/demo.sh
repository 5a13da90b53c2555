# shellcheck shell=bash
# The demo: a real Debian with python3 becomes one executable and its sidecar.

# show COMMAND...: prints a command as one would type it, then runs it.
show() {
  printf '\n$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

demo() {
  make_python_image
  local app=dist/demo/my-python
  mkdir -p dist/demo
  say "demo: pack, then run as somebody who has nothing but the two files"
  show dist/smolvm pack "oci:$IMAGES/python" -o "$app"
  show ls -lh dist/demo
  show "$app" python3 -c "print('Hello from an isolated machine')"
  show "$app" python3 -c "import platform; print(platform.platform())"
  show "$app" info
  show "$app" start
  show "$app" exec python3 -c "open('/tmp/note', 'w').write('kept between execs')"
  show "$app" exec cat /tmp/note
  echo
  show "$app" status
  show "$app" stop
  show "$app" status || echo "(status $?: nothing runs any more)"
}
