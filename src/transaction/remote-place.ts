// A machine over ssh as the place that an undo is planned for: its shell and its packages. Calls of this host's disk are none of its.
import type { Workplace } from './workplace.ts'
import { rootPath } from '../model/raw-path.ts'
import type { RemoteMachine } from './remote-machine.ts'
import { remoteDpkg } from './remote-packages.ts'

/** Whoever asks a disk of it has mistaken it for this host, which is a defect. */
export function remotePlace(machine: RemoteMachine): Workplace {
  const { shell, state, clock, reporter, signal } = machine
  return {
    root: rootPath,
    state,
    shell,
    clock,
    reporter,
    signal,
    packageSystems: [remoteDpkg(machine)],
    get libc(): never {
      throw noCalls()
    },
    get reader(): never {
      throw noCalls()
    },
    get disk(): never {
      throw noCalls()
    },
  }
}

function noCalls(): TypeError {
  return new TypeError('The disk of another machine cannot be called')
}
