import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeAws, signAws, type SignedRequest } from './aws-signature.ts'

function signatureOf(request: SignedRequest, service: 's3' | 'service'): string {
  const s3 = service === 's3'
  const { headers } = signAws(request, {
    credentials: {
      accessKeyId: s3 ? 'AKIAIOSFODNN7EXAMPLE' : 'AKIDEXAMPLE',
      secretAccessKey: `wJalrXUtnFEMI/K7MDENG${s3 ? '/' : '+'}bPxRfiCYEXAMPLEKEY`,
    },
    region: 'us-east-1',
    service,
    now: s3 ? Date.UTC(2013, 4, 24) : Date.UTC(2015, 7, 30, 12, 36),
  })
  return headers['authorization']?.replace(/.*Signature=/, '') ?? ''
}

// Amazon S3 API reference, "Examples: Signature Calculations".
const host = 'examplebucket.s3.amazonaws.com'

test('the four examples of the S3 reference have the signatures that it prints', () => {
  const examples: readonly (readonly [string, SignedRequest])[] = [
    [
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
      { method: 'GET', host, path: '/test.txt', headers: { Range: 'bytes=0-9' } },
    ],
    [
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      {
        method: 'PUT',
        host,
        path: `/${encodeAws('test$file.text')}`,
        headers: { Date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
        body: Buffer.from('Welcome to Amazon S3.'),
      },
    ],
    [
      'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
      { method: 'GET', host, path: '/', query: { lifecycle: '' } },
    ],
    [
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
      { method: 'GET', host, path: '/', query: { prefix: 'J', 'max-keys': '2' } },
    ],
  ]
  for (const [signature, request] of examples) assert.equal(signatureOf(request, 's3'), signature)
})

test('a request of the Signature Version 4 test suite has the signature that it lists', () => {
  // "get-vanilla" of the suite that Amazon publishes.
  assert.equal(
    signatureOf({ method: 'GET', host: 'example.amazonaws.com', path: '/' }, 'service'),
    '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
  )
})

test('a session token is sent and signed', () => {
  const sign = (sessionToken: string) =>
    signAws(
      { method: 'GET', host, path: '/' },
      {
        credentials: { accessKeyId: 'a', secretAccessKey: 'b', sessionToken },
        region: 'r',
        service: 's3',
        now: 0,
      },
    ).headers
  assert.equal(sign('token')['x-amz-security-token'], 'token')
  assert.notEqual(sign('token')['authorization'], sign('other')['authorization'])
})
