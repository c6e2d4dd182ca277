// Programs that tell whether a machine would work as a stage leaves it: each is asked only where files of its own changed, and where it is there.
import type { RawPath } from '../model/raw-path.ts'

export interface StageCheck {
  /** As people type it; the name of its result. */
  readonly name: string
  /** Without it there is nothing to ask. */
  readonly program: string
  /** Of paths: that one of them changed makes it due. */
  readonly due: RegExp
  /** Of those paths that made it due and are there afterwards; undefined where there is nothing to ask of them. */
  readonly argv: (paths: readonly RawPath[]) => readonly string[] | undefined
}

const unitFile =
  /^(?:\/usr)?\/lib\/systemd\/system\/[^/]+\.(?:service|socket|timer|path|target)$|^\/etc\/systemd\/system\/[^/]+\.(?:service|socket|timer|path|target)$/
/** The words of a program may have 2 MiB; so many units change in an upgrade to the next release. */
const unitsMax = 500
/** Words reach a program as UTF-8; names of units are ASCII (systemd.unit(5)). */
const plainPath = /^[\x21-\x7e]+$/

/** It tells what is wrong on a terminal, or else to the system's log alone, where nobody would look for it: script(1) is a terminal. */
const postfixCheck = `check='/usr/sbin/postfix check'
! command -v script >/dev/null || exec script -qec "$check" /dev/null
exec $check`

export const stageChecks: readonly StageCheck[] = [
  // sshd wants a folder that its unit makes when it starts; in the check it is made for it.
  {
    name: 'sshd -t',
    program: '/usr/sbin/sshd',
    due: /^\/etc\/ssh\/|^\/usr\/sbin\/sshd$/,
    argv: () => ['/bin/sh', '-c', 'mkdir -p -m 0755 /run/sshd; exec /usr/sbin/sshd -t'],
  },
  {
    name: 'visudo -c',
    program: '/usr/sbin/visudo',
    due: /^\/etc\/sudoers(?:$|\.d\/)/,
    argv: () => ['/usr/sbin/visudo', '-c'],
  },
  {
    name: 'nginx -t',
    program: '/usr/sbin/nginx',
    due: /^\/etc\/nginx\/|^\/usr\/sbin\/nginx$|^\/usr\/lib\/nginx\//,
    argv: () => ['/usr/sbin/nginx', '-t', '-q'],
  },
  {
    name: 'apache2ctl configtest',
    program: '/usr/sbin/apache2ctl',
    due: /^\/etc\/apache2\/|^\/usr\/sbin\/apache2$|^\/usr\/lib\/apache2\//,
    argv: () => ['/usr/sbin/apache2ctl', 'configtest'],
  },
  {
    name: 'named-checkconf',
    program: '/usr/bin/named-checkconf',
    due: /^\/etc\/bind\//,
    argv: () => ['/usr/bin/named-checkconf', '-z'],
  },
  {
    name: 'postfix check',
    program: '/usr/sbin/postfix',
    due: /^\/etc\/postfix\//,
    argv: () => ['/bin/sh', '-c', postfixCheck],
  },
  {
    name: 'systemd-analyze verify',
    program: '/usr/bin/systemd-analyze',
    due: unitFile,
    argv: (paths) => {
      const units = paths.filter((path) => plainPath.test(path)).slice(0, unitsMax)
      return units.length === 0 ? undefined : ['/usr/bin/systemd-analyze', 'verify', '--man=no', ...units]
    },
  },
]
