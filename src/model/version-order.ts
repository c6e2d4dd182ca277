// Which of two versions is newer, as the machine's package manager sees it.
import type { PackageManagerName } from './packages.ts'
import { compareApkVersions } from './version-apk.ts'
import type { Order } from './version-digits.ts'
import { compareDpkgVersions } from './version-dpkg.ts'
import { compareRpmVersions } from './version-rpm.ts'

/** 0 also for versions that differ in letters only, such as `1.0` and `1.00`. */
export function compareVersions(manager: PackageManagerName, left: string, right: string): Order {
  return orders[manager](left, right)
}

const orders: Readonly<Record<PackageManagerName, (left: string, right: string) => Order>> = {
  dpkg: compareDpkgVersions,
  rpm: compareRpmVersions,
  apk: compareApkVersions,
}
