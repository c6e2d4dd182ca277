# Debian 12 packages for guest images, from a package state of our own: the same on every host, and root is not needed.
# Sourced; wants $cache. Sets APT_CONFIG.
mirror=${VML_DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${VML_DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
apt=$cache/apt
# Package lists are asked for again after a week: images are then rebuilt if a package they use has a new version.
lists_days_max=7

apt_ready() {
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" || return
  APT_CONFIG=$apt/apt.conf
  export APT_CONFIG
  [ -f "$apt/fresh" ] && [ -z "$(find "$apt/fresh" -mtime +$lists_days_max)" ] && return
  (
    flock 9
    [ -f "$apt/fresh" ] && [ -z "$(find "$apt/fresh" -mtime +$lists_days_max)" ] && exit
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    cat >"$apt/sources.list" <<END
deb [signed-by=$keyring arch=amd64] $mirror bookworm main
deb [signed-by=$keyring arch=amd64] $mirror bookworm-updates main
deb [signed-by=$keyring arch=amd64] $security bookworm-security main
END
    cat >"$apt/apt.conf" <<END
Dir::State "$apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
END
    echo 'images: Asking Debian for its package lists' >&2
    if apt-get -qq -o APT::Update::Error-Mode=any update >&2; then
      touch "$apt/fresh"
    else
      # Without a network, lists of an earlier day still do.
      ls "$apt/state/lists/"*_Packages >/dev/null 2>&1
    fi
  ) 9>"$apt/lock"
}

# "URI file size SHA256:sum" of each package, newest version; fails for a name that Debian does not have.
apt_uris() {
  apt-get -qq --print-uris download "$@" | tr -d "'"
}

# Puts the packages into a folder, each once, their sums checked by apt.
apt_download() {
  (
    flock 9
    cd "$apt/cache/archives" && apt-get -qq download "$@" >&2
  ) 9>"$apt/download.lock"
}
