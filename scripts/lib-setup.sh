# Shared by the scripts: finds out which Debian packages are missing and installs them. To be sourced by bash.
# Needs nothing beyond a fresh Debian 12. The caller sets leash_src to the source tree, and its own traps only after
# setup_packages.
# shellcheck shell=bash disable=SC2154

# The packages of debian/control's Build-Depends, one a line, without versions and profiles. (debhelper brings the sequences.)
setup_build_depends() {
	awk '/^Build-Depends:/ { on = 1; sub(/^[^:]*:/, ""); print; next }
	     on && /^[ \t]/ { print; next }
	     on { exit }' "$leash_src/debian/control" |
		tr ',' '\n' |
		sed -e 's/(.*)//; s/<.*>//; s/\[.*\]//; s/|.*//; s/[[:space:]]//g; /^$/d; s/^debhelper-compat$/debhelper/; /^dh-sequence-/d'
	printf '%s\n' gcc make libc6-dev dpkg-dev
}

setup_installed() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Prints those of the arguments that are not installed.
setup_missing_of() {
	local p
	for p; do
		setup_installed "$p" || printf '%s\n' "$p"
	done
}

# Packages start their services when they are installed. This denies it until setup_policy_remove, unless the machine has
# a policy of its own, which is left alone. The link makes it appear at once and whole, and never over another.
setup_policy=/usr/sbin/policy-rc.d
setup_policy_ours=

setup_policy_put() {
	local t
	t=$(mktemp /usr/sbin/.leash-policy.XXXXXX) || return 1
	printf '#!/bin/sh\n# put by leash (process %s) while it installs packages\nexit 101\n' "$$" >"$t"
	chmod 755 "$t"
	if ln "$t" "$setup_policy" 2>/dev/null; then
		setup_policy_ours=$t
	else
		rm -f "$t"
		echo "note: $setup_policy is there already and decides which services start" >&2
	fi
}

setup_policy_remove() {
	[ -n "$setup_policy_ours" ] || return 0
	# Only if it is still the very file that we put.
	[ "$setup_policy_ours" -ef "$setup_policy" ] && rm -f "$setup_policy"
	rm -f "$setup_policy_ours"
	setup_policy_ours=
}

setup_apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null
}

# Installs what is missing: the build dependencies, and the packages named as arguments. No call of apt if nothing is.
# Returns 1, with the command to type, when this user may not install.
setup_packages() {
	local depends missing_depends missing_extra r=0
	depends=$(setup_build_depends)
	# shellcheck disable=SC2086  # names of packages have no blanks
	missing_depends=$(setup_missing_of $depends)
	missing_extra=$(setup_missing_of "$@")
	[ -n "$missing_depends$missing_extra" ] || return 0
	# shellcheck disable=SC2086
	if [ "$(id -u)" != 0 ]; then
		echo "Debian packages are missing:" $missing_depends $missing_extra >&2
		echo "Install them as root: apt-get install --no-install-recommends" $missing_depends $missing_extra >&2
		return 1
	fi
	# shellcheck disable=SC2086
	echo "Installing Debian packages:" $missing_depends $missing_extra
	trap setup_policy_remove EXIT
	trap 'setup_policy_remove; exit 130' INT
	trap 'setup_policy_remove; exit 143' TERM HUP
	setup_policy_put || return 1
	setup_apt update || echo "note: apt-get update failed; going on with the lists that are there" >&2
	if [ -n "$missing_depends" ]; then
		(cd "$leash_src" && setup_apt build-dep ./) || r=1
	fi
	# shellcheck disable=SC2086
	[ -z "$missing_extra" ] || [ $r != 0 ] || setup_apt install $missing_extra || r=1
	setup_policy_remove
	trap - EXIT INT TERM HUP
	# shellcheck disable=SC2086
	missing_depends=$(setup_missing_of $depends "$@")
	if [ -n "$missing_depends" ]; then
		# shellcheck disable=SC2086
		echo "Still missing:" $missing_depends >&2
		return 1
	fi
	return $r
}

# Copies the sources to $1, without what a build left in the tree, so that nothing is written to where they are.
setup_copy_source() {
	local to=$1 inside
	mkdir -p "$to"
	inside=$(realpath --relative-to="$leash_src" "$(dirname "$to")")
	if [ "$(git -C "$leash_src" rev-parse --show-toplevel 2>/dev/null)" = "$leash_src" ]; then
		(cd "$leash_src" && git ls-files -z --cached --others --exclude-standard |
			while IFS= read -r -d '' f; do
				case $f in "$inside"/*) continue ;; esac
				if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\0' "$f"; fi
			done | tar --null -T - -cf -) | tar -C "$to" -xf -
	else
		(cd "$leash_src" && tar --exclude=./.git --exclude="./$inside" --exclude='./build' --exclude='./build-[!a]*' \
			--exclude=./autom4te.cache --exclude=./config.status --exclude=./config.log --exclude=./config.h \
			--exclude=./configure --exclude=./Makefile --exclude=./Makefile.in --exclude=./libtool \
			--exclude='*.o' --exclude='*.lo' --exclude='*.la' --exclude=.libs --exclude=.deps --exclude='*.trs' \
			-cf - .) | tar -C "$to" -xf -
	fi
}
