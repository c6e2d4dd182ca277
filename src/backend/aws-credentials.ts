// Keys for S3, where the programs of Amazon look for them: the environment, then ~/.aws/credentials.
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { describeSystemError } from '../base/system-error.ts'
import type { AwsCredentials } from './aws-signature.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Fails with `usage` where there are none, or half of them. */
export async function readAwsCredentials(environment: Environment): Promise<AwsCredentials> {
  const id = environment['AWS_ACCESS_KEY_ID'] ?? ''
  const secret = environment['AWS_SECRET_ACCESS_KEY'] ?? ''
  if ((id === '') !== (secret === ''))
    throw missing(
      `${id === '' ? 'AWS_ACCESS_KEY_ID' : 'AWS_SECRET_ACCESS_KEY'} is not set, its other half is`,
    )
  if (id !== '')
    return {
      accessKeyId: id,
      secretAccessKey: secret,
      sessionToken: environment['AWS_SESSION_TOKEN'] || undefined,
    }
  const profile = environment['AWS_PROFILE'] || 'default'
  const file =
    environment['AWS_SHARED_CREDENTIALS_FILE'] ||
    join(environment['HOME'] || homedir(), '.aws', 'credentials')
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT')
      throw missing(`AWS_ACCESS_KEY_ID is not set, and there is no "${file}"`)
    throw missing(`"${file}" cannot be read (${describeSystemError(systemErrorCode(error) ?? 'unknown')})`)
  })
  const found = parseProfile(text, profile)
  if (found === undefined) throw missing(`"${file}" has no keys for the profile "${profile}"`)
  return found
}

/** Of an INI file, as the AWS CLI's "Configuration and credential file settings" has it. */
export function parseProfile(text: string, profile: string): AwsCredentials | undefined {
  const values = new Map<string, string>()
  let current = ''
  for (const line of text.split(/\r?\n/)) {
    const [, section] = /^\s*\[\s*([^\]]*?)\s*\]\s*$/.exec(line) ?? []
    if (section !== undefined) current = section
    const [, name, value] = /^\s*([A-Za-z_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (current === profile && name !== undefined && value !== undefined)
      values.set(name.toLowerCase(), value)
  }
  const accessKeyId = values.get('aws_access_key_id')
  const secretAccessKey = values.get('aws_secret_access_key')
  if (!accessKeyId || !secretAccessKey) return undefined
  return { accessKeyId, secretAccessKey, sessionToken: values.get('aws_session_token') || undefined }
}

function missing(why: string): VmlError {
  return new VmlError('usage', `Cannot sign what is asked of S3: ${why}`, {
    hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/credentials with AWS_PROFILE',
  })
}
