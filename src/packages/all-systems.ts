// Every package system of which VML takes transactions back; opened by app/ alone. A save or a restore asks none of them.
import { dpkgSystem } from './dpkg-system.ts'
import type { PackageSystem } from './package-system.ts'
import { openRpmSystem } from './rpm-system.ts'

export function openPackageSystems(): readonly PackageSystem[] {
  return [dpkgSystem, openRpmSystem()]
}
