// rpm's lock, so that rpm and dnf stay out while VML changes what is theirs: they wait for it, and say so.
import type { RawPath } from '../model/raw-path.ts'
import { takeFileLock } from './dpkg-locks.ts'
import type { PackageLockRequest } from './package-system.ts'
import { below } from './rpm-state.ts'

/** rpm, lib/rpmlock.c: a lock for writing on the whole of `%{_rpmlock_path}`, by fcntl(2). Questions take none. */
export async function takeRpmLock(folder: RawPath, request: PackageLockRequest): Promise<AsyncDisposable> {
  return await takeFileLock(below(folder, '.rpm.lock'), request)
}
