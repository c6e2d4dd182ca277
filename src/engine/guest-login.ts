// Lets VML's own key in as a user of a guest, outside of the home: no restore takes it away and no entry holds it.
import { VmlError } from '../base/failure.ts'
import { printableText, rawFromBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'

export interface GuestUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: RawPath
}

export interface LoginRequest {
  /** Root's shell on the guest. */
  readonly shell: Shell
  readonly user: string
  /** `ssh-ed25519 AAAA…` */
  readonly publicKey: string
  /** For a user that the guest does not have yet: the ids are tried, others are taken where they are not free. */
  readonly ids: { readonly uid: number; readonly gid: number } | undefined
  readonly signal?: AbortSignal | undefined
}

const answerBytesMax = 64 * 1024

/**
 * Makes the user where it is missing, writes the key to the file that the seed uses too (hypervisor/seed.ts) and has
 * sshd look there, whoever logs in. Order: key, then configuration, then a check of it (`sshd -t`), then reload: an sshd that would not
 * start is left as it was. Last the key goes from root's own file, where the seed has put it: no entry of root's home
 * holds it. Can be repeated.
 */
export async function prepareLogin({
  shell,
  user,
  publicKey,
  ids,
  signal,
}: LoginRequest): Promise<GuestUser> {
  if (!/^[a-z_][a-z0-9_-]{0,31}\$?$/.test(user)) {
    throw new VmlError('usage', `Cannot open as the user "${printableText(user)}"`, {
      hint: 'Name a user with --user: small letters, digits, "_" and "-"',
    })
  }
  const { status, stdout, stderr } = await shell.run({
    argv: ['sh', '-c', script, 'vml', user, publicKey, String(ids?.uid ?? ''), String(ids?.gid ?? '')],
    outputBytesMax: answerBytesMax,
    signal,
  })
  const answer = new Map<string, string>()
  for (const line of rawFromBytes(stdout).split('\n')) {
    const match = /^vml-(\w+)=(.*)$/.exec(line)
    if (match?.[1] !== undefined) answer.set(match[1], match[2] ?? '')
  }
  const home = parseRawPath(rawFromBytes(Buffer.from(answer.get('home') ?? '', 'latin1')))
  const uid = Number(answer.get('uid') ?? Number.NaN)
  const gid = Number(answer.get('gid') ?? Number.NaN)
  if (status !== 0 || home === undefined || !Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw new VmlError(
      'remote.command',
      `Cannot let "${user}" in on ${shell.label}: ${printableText(stderr.toString('utf8').trim()).slice(0, 500)}`,
    )
  }
  return { name: user, uid, gid, home }
}

// $1 user, $2 key, $3 and $4 wished ids or nothing.
const script = `
set -eu
user=$1
if ! id -u "$user" >/dev/null 2>&1; then
  shell=/bin/sh; [ -x /bin/bash ] && shell=/bin/bash
  if command -v useradd >/dev/null 2>&1; then
    useradd -m -s "$shell" \${3:+-u "$3"} "$user" 2>/dev/null || useradd -m -s "$shell" "$user"
  else
    adduser -D -s "$shell" \${3:+-u "$3"} "$user" 2>/dev/null || adduser -D -s "$shell" "$user"
  fi
  # No password, but not locked: an sshd without PAM refuses who is locked.
  usermod -p '*' "$user" 2>/dev/null || sed -i "s/^$user:!*:/$user:*:/" /etc/shadow
fi
keys=/etc/ssh/vml_authorized_keys
printf '%s\\n' "$2" > "$keys.new"
chmod 644 "$keys.new"
mv "$keys.new" "$keys"
line="AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 $keys"
main=/etc/ssh/sshd_config
if grep -Eiq '^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config\\.d/' "$main" 2>/dev/null; then
  mkdir -p /etc/ssh/sshd_config.d
  file=/etc/ssh/sshd_config.d/10-vml.conf
  printf '%s\\n' "$line" > "$file"
else
  file=$main
  if ! grep -Fq "$line" "$main" 2>/dev/null; then
    cp -p "$main" "$main.vml-before" 2>/dev/null || : > "$main.vml-before"
    { printf '%s\\n' "$line"; cat "$main.vml-before"; } > "$main"
  fi
fi
sshd=$(command -v sshd || echo /usr/sbin/sshd)
if ! "$sshd" -t; then
  if [ "$file" = "$main" ]; then cp -p "$main.vml-before" "$main"; else rm -f "$file"; fi
  echo 'its ssh server does not take the configuration' >&2
  exit 1
fi
if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
  systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || systemctl try-restart ssh.service sshd.service
else
  for pid in $(cat /run/sshd.pid /var/run/sshd.pid 2>/dev/null | sort -u); do kill -HUP "$pid"; done
fi
mine=/root/.ssh/authorized_keys
if [ -f "$mine" ] && [ ! -L "$mine" ] && grep -Fq "$2" "$mine"; then
  (umask 077; grep -Fv "$2" "$mine" > "$mine.new" || :)
  if [ -s "$mine.new" ]; then mv "$mine.new" "$mine"; else rm "$mine" "$mine.new"; rmdir /root/.ssh 2>/dev/null || :; fi
fi
echo "vml-uid=$(id -u "$user")"
echo "vml-gid=$(id -g "$user")"
home=$(getent passwd "$user" 2>/dev/null | cut -d: -f6 || :)
[ -n "$home" ] || home=$(grep "^$user:" /etc/passwd | cut -d: -f6)
[ -d "$home" ] || { mkdir -p "$home"; chown "$(id -u "$user"):$(id -g "$user")" "$home"; }
echo "vml-home=$(cd -P "$home" && pwd -P)"
`
