// Where a logbook on S3 lies, as restic writes it: `s3:https://host/bucket/prefix`, or without https: for the same.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export interface S3Location {
  /** Without path; `http:` or `https:`. */
  readonly origin: URL
  readonly bucket: string
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string
}

/** Fails with `usage` where the text is none. */
export function parseS3Location(text: string): S3Location {
  const wrong = (why: string) =>
    // The text may hold keys: it is not repeated.
    new VmlError('usage', `Cannot take the location on S3: ${why}`, {
      hint: 'Write it as restic does: s3:https://HOST/BUCKET/PREFIX; keys stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    })
  const rest = text.replace(/^s3:/, '').replace(/^\/\//, '')
  const address = /^https?:\/\//.test(rest) ? rest : `https://${rest}`
  const [, scheme = '', host = '', path = ''] = /^(https?):\/\/([^/?#]*)\/?([^?#]*)$/.exec(address) ?? []
  if (host === '' || !URL.canParse(`${scheme}://${host}`)) throw wrong('it names no server')
  const origin = new URL(`${scheme}://${host}`)
  if (origin.username !== '' || origin.password !== '') throw wrong('keys do not belong into it')
  const [bucket = '', ...parts] = path.split('/')
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) throw wrong('it names no bucket')
  // As restic cleans it.
  const prefix = parts.filter((part) => part !== '' && part !== '.')
  if (prefix.includes('..')) throw wrong('its prefix has ".." in it')
  return { origin, bucket, prefix: prefix.join('/') }
}

export function s3LocationText({ origin, bucket, prefix }: S3Location): string {
  return printableText(`s3:${[origin.origin, bucket, prefix].filter((part) => part !== '').join('/')}`)
}

/** `s3.eu-central-1.amazonaws.com` names its region; elsewhere there is mostly none. */
export function regionOf({ origin }: S3Location): string {
  const [, region] =
    /^s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/.exec(origin.hostname) ?? []
  return region ?? 'us-east-1'
}
