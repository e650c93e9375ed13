# Fresh systems in folders, for packages and their tests. Sourced after lib.sh.
# shellcheck shell=bash disable=SC2054,SC2154 # commas are mmdebstrap's; build_packages is of lib.sh

root_systems=(debian:12 debian:13 ubuntu:22.04 ubuntu:24.04)
root_store=${PACKAGE_ROOTS:-$root/build-packages/roots}

# Ubuntu's own package of its archive's keys, by which its files are checked: Debian 12 has
# none. It is taken for true when it holds this key, whose fingerprint Ubuntu publishes.
ubuntu_key=F6ECB3762474EDA9D21B7022871920D1991BC93C

root_suite() {
  case $1 in
    debian:12) echo bookworm ;; debian:13) echo trixie ;;
    ubuntu:22.04) echo jammy ;; ubuntu:24.04) echo noble ;;
    *) die "packages are made for ${root_systems[*]}, not for \"$1\"" ;;
  esac
}

# "debian:12" → "~debian12": below any version without it, and in the order of releases.
root_suffix() { printf '~%s' "${1/[:-]/}"; }

ubuntu_keyring() {
  local file=/usr/share/keyrings/ubuntu-archive-keyring.gpg work=$root_store/keyring
  [ ! -e "$file" ] || { echo "$file"; return; }
  file=$work/usr/share/keyrings/ubuntu-archive-keyring.gpg
  if [ ! -e "$file" ]; then
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo 'deb [trusted=yes] http://archive.ubuntu.com/ubuntu noble main' >"$work/list"
    local options=(-qq -o "Dir::Etc::SourceList=$work/list" -o Dir::Etc::SourceParts=/dev/null
      -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2 2>/dev/null
    (cd "$work" && apt-get "${options[@]}" download ubuntu-keyring >&2)
    dpkg-deb -x "$work"/ubuntu-keyring_*.deb "$work"
    rm -rf "$work/lists" "$work/cache"
  fi
  # Only that key: whatever else stands in there is no reason to trust anything.
  [ -e "$work/key.gpg" ] || GNUPGHOME=$work gpg --quiet --batch --no-default-keyring \
    --keyring "$file" --export "$ubuntu_key" >"$work/key.gpg" 2>/dev/null
  [ "$(GNUPGHOME=$work gpg --batch --show-keys --with-colons "$work/key.gpg" 2>/dev/null | sed -n 's/^fpr:*\(.*\):$/\1/p' | head -n 1)" = "$ubuntu_key" ] ||
    { rm -f "$work/key.gpg"; die "the package ubuntu-keyring does not hold the key $ubuntu_key"; }
  echo "$work/key.gpg"
}

# root_make SYSTEM TARGET PACKAGE…: a folder or, by its ending, an archive.
root_make() {
  local system=$1 target=$2 suite options=(); shift 2
  suite=$(root_suite "$system")
  case $system in
    ubuntu:*) options=(--components=main,universe "--keyring=$(ubuntu_keyring)") ;;
    *) options=(--components=main) ;;
  esac
  mkdir -p "$root_store"
  say "making a root of $system"
  rm -rf "$target"
  mmdebstrap --quiet --mode=root --variant=minbase "${options[@]}" \
    --aptopt='Acquire::Languages "none"' --include="$(IFS=,; echo "apt,$*")" \
    "$suite" "$target" >&2
}

# A root in which the package can be built; kept.
root_for_building() {
  local folder=$root_store/${1/:/-}-build
  [ "$(id -u)" -eq 0 ] || die "roots need root: run this as root, or use --here"
  need_packages mmdebstrap gnupg >&2
  [ -e "$folder/build" ] || {
    root_make "$1" "$folder" build-essential debhelper lintian ccache "${build_packages[@]}"
    mkdir -p "$folder/build"
  }
  echo "$folder"
}

# in_root FOLDER COMMAND…: in a mount namespace of its own, with /proc and /dev, so that
# nothing stays mounted when it ends.
in_root() {
  local folder=$1; shift
  # shellcheck disable=SC2016 # the inner shell expands it
  unshare --mount --propagation private /bin/sh -euc '
    folder=$1; shift
    mount -t proc proc "$folder/proc"
    mount --rbind /dev "$folder/dev"
    if [ -n "${CCACHE_DIR:-}" ]; then
      mkdir -p "$folder/ccache"; mount --bind "$CCACHE_DIR" "$folder/ccache"
    fi
    exec chroot "$folder" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
      LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
  ' sh "$folder" "$@"
}
