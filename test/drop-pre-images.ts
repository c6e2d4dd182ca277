// Has a machine drop what its older records keep.
import type { Chroot } from './chroot.ts'

/** What stays whatever goes, and no more: all but the newest lose what they keep for it. */
export async function leastBudget(chroot: Chroot): Promise<string> {
  const { stdout } = await chroot.vml(['tx', 'check', '--budget', '1K', '--json'], { mayFail: true })
  // Progress comes before it.
  const { budget }: { budget: { lasting_bytes: number } } = JSON.parse(
    stdout.trimEnd().split('\n').at(-1) ?? '',
  )
  return String(budget.lasting_bytes + 1)
}

export async function dropPreImages(chroot: Chroot): Promise<void> {
  await chroot.vml(['tx', 'check', '--budget', await leastBudget(chroot), '--yes'])
}
