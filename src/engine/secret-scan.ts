// Finds keys, tokens and passwords in what is about to be shared. Careful rather than quiet: a finding can be overruled,
// a missed key cannot be taken back. The patterns are the published forms of the services' own tokens.
import type { RawPath } from '../model/raw-path.ts'

export interface SecretFinding {
  readonly where: 'file' | 'variable' | 'history'
  /** The file, or the history file. */
  readonly path?: RawPath
  /** The variable. */
  readonly name?: string
  /** Line of a history or text file, from 1. */
  readonly line?: number
  /** What it looks like, never the secret itself. */
  readonly what: string
}

/** Files larger than this are judged by name and first bytes alone. */
export const scannedBytesMax = 1024 * 1024

/** By their place: nobody shares these by intent. */
const secretFiles: readonly (readonly [RegExp, string])[] = [
  [/\/\.ssh\/(id_[^/]*(?<!\.pub)|identity)$/, 'ssh private key'],
  [/\/\.gnupg\/(private-keys-v1\.d\/.+|secring\.gpg)$/, 'GnuPG private key'],
  [/\/\.aws\/(credentials|sso\/cache\/.+|cli\/cache\/.+)$/, 'AWS credentials'],
  [
    /\/\.config\/gcloud\/(credentials\.db|access_tokens\.db|application_default_credentials\.json|legacy_credentials\/.+)$/,
    'Google Cloud credentials',
  ],
  [
    /\/\.azure\/(accessTokens\.json|msal_token_cache\.(json|bin)|service_principal_entries\.json)$/,
    'Azure credentials',
  ],
  [/\/\.(netrc|pgpass|my\.cnf|git-credentials|pypirc|s3cfg|boto|rhosts)$/, 'stored passwords'],
  [/\/\.docker\/config\.json$/, 'registry credentials'],
  [/\/\.kube\/config$/, 'Kubernetes credentials'],
  [/\/\.config\/gh\/hosts\.yml$/, 'GitHub token'],
  [/\/\.config\/git\/credentials$/, 'stored passwords'],
  [/\/\.config\/rclone\/rclone\.conf$/, 'storage credentials'],
  [/\/\.globus\/(userkey\.pem|usercred\.p12)$/, 'grid certificate key'],
  [/\/\.(password-store)\/.+\.gpg$/, 'password store'],
  [/\/\.local\/share\/keyrings\/.+/, 'keyring'],
  [/\/\.(mozilla|thunderbird)\/.+\/(logins\.json|key4\.db|cookies\.sqlite)$/, 'browser passwords or cookies'],
  [/\/(Login Data|Cookies)$/, 'browser passwords or cookies'],
  [/\.(kdbx?|agekey|ppk)$/, 'key or password file'],
]

/** By their form, wherever they stand. */
const secretTexts: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----/, 'private key'],
  [/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/, 'AWS access key'],
  [/\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{50,}/, 'GitHub token'],
  [/\bglpat-[A-Za-z0-9_-]{20,}/, 'GitLab token'],
  [/\bxox[abeprs]-[A-Za-z0-9-]{10,}/, 'Slack token'],
  [/\bAIza[0-9A-Za-z_-]{35}\b/, 'Google API key'],
  [/\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}/, 'API key'],
  [/\bnpm_[A-Za-z0-9]{36}\b/, 'npm token'],
  [/\bpypi-[A-Za-z0-9_-]{50,}/, 'PyPI token'],
  [/\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/, 'web token'],
  [/\bAGE-SECRET-KEY-1[0-9A-Z]{50,}/, 'age key'],
  [/:\/\/[^\s/:@'"]+:[^\s/@'"$]{3,}@/, 'password in an address'],
  [/\/\/[^\s=]+\/:_(?:authToken|password)\s*=\s*(?!\$\{)\S{8,}/, 'registry token'],
]

/** Words that go with a secret on a command line. */
const secretCommands: readonly (readonly [RegExp, string])[] = [
  [
    /(?:^|\s)(?:--?(?:password|passwd|pass|token|secret|api-?key|access-?key)[ =])\s*(?!\$|-)\S{3,}/i,
    'password on a command line',
  ],
  [/\bauthorization:\s*(?:bearer|basic|token)\s+\S{6,}/i, 'authorization header'],
  [
    /\b[A-Za-z_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY)[A-Za-z_]*=(?!["']?\$)["']?[^\s"']{3,}/i,
    'secret assigned to a variable',
  ],
  [/\bsshpass\s+-p\s*\S+/, 'password on a command line'],
  [/\bmysql\b.*\s-p\S{3,}/, 'password on a command line'],
  [/\bcurl\b.*\s(?:-u|--user)[ =]?\S+:\S+/, 'password on a command line'],
]

/** Names of variables whose value is a secret; a path to one (`…_FILE`, `SSH_AUTH_SOCK`) is not. */
const secretVariable =
  /(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?!.*_(?:FILE|PATH|DIR|URL|COMMAND)$)/i

export function scanFileName(path: RawPath): string | undefined {
  return secretFiles.find(([pattern]) => pattern.test(path))?.[1]
}

/** `text` as latin1: the patterns are ASCII. Undefined when nothing was found. */
export function scanText(text: string): { readonly what: string; readonly line: number } | undefined {
  for (const [pattern, what] of secretTexts) {
    const match = pattern.exec(text)
    if (match) return { what, line: text.slice(0, match.index).split('\n').length }
  }
  return undefined
}

export function scanVariable(name: string, value: string): string | undefined {
  if (value === '') return undefined
  if (secretVariable.test(name)) return 'variable that holds a secret by its name'
  return scanText(value)?.what
}

/** A line of a shell's history. */
export function scanCommand(line: string): string | undefined {
  return secretCommands.find(([pattern]) => pattern.test(line))?.[1] ?? scanText(line)?.what
}

/** The history without the lines that hold a secret, and which these were. */
export function scrubHistory(content: Buffer): {
  readonly content: Buffer
  readonly removed: readonly { line: number; what: string }[]
} {
  const removed: { line: number; what: string }[] = []
  const lines = content.toString('latin1').split('\n')
  const kept = lines.filter((line, index) => {
    const what = scanCommand(line)
    if (what === undefined) return true
    removed.push({ line: index + 1, what })
    return false
  })
  return { content: removed.length === 0 ? content : Buffer.from(kept.join('\n'), 'latin1'), removed }
}
