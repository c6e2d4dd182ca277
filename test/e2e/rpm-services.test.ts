// What scripts of rpm packages ask of systemd while dnf works in a stage: put off, and done after the commit. No systemd runs here: a recorder stands in for systemctl.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordSystemctl } from '../chroot-services.ts'
import { fileOf, openRpmMachine } from '../rpm-machine.ts'
import type { RpmSpec } from '../rpm-packages.ts'

/** The parts of systemd's own package that scripts call: systemd-update-helper of 252, and its trigger. */
const manager: RpmSpec = {
  name: 'manager',
  version: '1',
  install: `mkdir -p $R/usr/lib/systemd; cat >$R/usr/lib/systemd/systemd-update-helper <<'END'
#!/bin/sh
command=$1
shift
case $command in
  install-system-units) systemctl --no-reload preset "$@" ;;
  remove-system-units) systemctl --no-reload disable --now --no-warn "$@" ;;
  mark-restart-system-units) for unit; do systemctl set-property "$unit" Markers=+needs-restart & done; wait ;;
  system-reload-restart) systemctl daemon-reload; systemctl reload-or-restart --marked ;;
esac
END
chmod 755 $R/usr/lib/systemd/systemd-update-helper`,
  sections:
    '%transfiletriggerin -P 1000900 -- /usr/lib/systemd/system\n/usr/lib/systemd/systemd-update-helper system-reload-restart || :',
  files: ['/usr/lib/systemd/systemd-update-helper'],
}
const helper = (when: string, verb: string) =>
  `if [ ${when} ] && [ -x /usr/lib/systemd/systemd-update-helper ]; then\n  /usr/lib/systemd/systemd-update-helper ${verb} daemon.service || :\nfi`
/** Scripts as %systemd_post, %systemd_preun and %systemd_postun_with_restart become, and one that rpm runs in its own process. */
const daemon = (version: string): RpmSpec => ({
  name: 'daemon',
  version,
  install: `mkdir -p $R/usr/lib/systemd/system $R/opt; echo "[Service]" >$R/usr/lib/systemd/system/daemon.service; echo ${version} >$R/opt/daemon`,
  sections: `%post\n${helper('$1 -eq 1', 'install-system-units')}\n%preun\n${helper('$1 -eq 0', 'remove-system-units')}\n%postun\n${helper('$1 -ge 1', 'mark-restart-system-units')}\n%posttrans -p <lua>\nrpm.execute("systemctl", "start", "daemon.socket")`,
  files: ['/usr/lib/systemd/system/daemon.service', '/opt/daemon'],
})
const byPath: RpmSpec = {
  name: 'by-path',
  version: '1',
  sections: '%post\n/usr/bin/systemctl restart by-path.service >/dev/null 2>&1 || :',
}

test('what scripts ask of services is done after the commit and recorded; who names systemctl by its path is recorded live', async () => {
  await using machine = await openRpmMachine([manager, daemon('1'), daemon('2'), byPath])
  const systemctl = await recordSystemctl(machine)
  await machine.run(['rpm', '-i', '--quiet', fileOf(manager), fileOf(daemon('1'))])
  await machine.vml(['tx', 'enable'])
  let seen = systemctl.calls().length
  const dnf = async (...words: string[]) => {
    const { stderr } = await machine.run(['dnf', '-y', '-q', ...words])
    const calls = systemctl.calls().slice(seen)
    seen += calls.length
    return { stderr, calls }
  }

  const upgrade = await dnf('upgrade', 'daemon')
  // Nothing while it was in the stage.
  assert.deepEqual(upgrade.calls, [
    'daemon-reload',
    'try-restart -- daemon.service',
    'start -- daemon.socket',
  ])
  assert.match(upgrade.stderr, /Services: daemon\.service restarted, daemon\.socket started\n/)

  const live = await dnf('install', 'by-path')
  assert.match(
    live.stderr,
    /a script of by-path asks systemctl by its path[^]*done again on the machine itself/,
  )
  assert.deepEqual(live.calls, ['restart by-path.service'])
})
