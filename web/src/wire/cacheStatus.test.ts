// Every kind of Cache-Status that Larder or a cache beside it may send.
import { describe, expect, test } from 'vitest';
import { readVerdict } from './cacheStatus';

describe('the verdict', () => {
  test('is a hit with its age and what is left', () => {
    expect(readVerdict('Larder; hit; ttl=297; key="/posts/1"; detail=hit', '3')).toEqual({
      kind: 'hit',
      ageSeconds: 3,
      ttlSeconds: 297,
    });
  });

  test('is a hit in what backends share, and stale all the same where that has expired', () => {
    expect(readVerdict('Larder; hit; ttl=297; key="/posts/1"; detail=shared', '3')).toEqual({
      kind: 'shared',
      ageSeconds: 3,
      ttlSeconds: 297,
    });
    expect(readVerdict('Larder; hit; ttl=-1; detail=shared', '301').kind).toBe('stale');
  });

  test('is a hit to the last second: a ttl of zero has not expired', () => {
    expect(readVerdict('Larder; hit; ttl=0', '300').kind).toBe('hit');
  });

  test('is a miss with the reason in our own words', () => {
    expect(readVerdict('Larder; fwd=stale; fwd-status=200; stored; ttl=300; detail=expired', null)).toEqual({
      kind: 'miss',
      reason: 'expired',
      collapsed: false,
      ttlSeconds: 300,
    });
  });

  test('is a miss with the standard’s word where there is none of ours', () => {
    expect(readVerdict('Larder; fwd=uri-miss', null)).toMatchObject({ kind: 'miss', reason: 'uri-miss' });
  });

  test('says when a load waited for another’s fetch', () => {
    expect(readVerdict('Larder;fwd=uri-miss;collapsed;detail=collapsed', null)).toMatchObject({
      kind: 'miss',
      collapsed: true,
    });
  });

  test('is stale when a hit’s ttl is below zero, or its reason says so', () => {
    expect(readVerdict('Larder; hit; ttl=-12; detail=stale-while-revalidate', '312')).toEqual({
      kind: 'stale',
      ageSeconds: 312,
      expiredForSeconds: 12,
      reason: 'stale-while-revalidate',
    });
    expect(readVerdict('Larder; hit; detail=stale-if-error', null)).toEqual({
      kind: 'stale',
      ageSeconds: null,
      expiredForSeconds: null,
      reason: 'stale-if-error',
    });
  });

  test('is stale when it stands in for an error of the origin that was asked', () => {
    const said = 'Larder;fwd=stale;fwd-status=503;ttl=-30;detail=stale-if-error';
    expect(readVerdict(said, '90')).toEqual({
      kind: 'stale',
      ageSeconds: 90,
      expiredForSeconds: 30,
      reason: 'stale-if-error',
    });
  });

  test('is a bypass when the cache was told to stay out', () => {
    expect(readVerdict('Larder; fwd=bypass; fwd-status=200; detail=bypass-rule', null)).toEqual({ kind: 'bypass' });
  });

  test('is Larder’s, whatever the other caches on the way say', () => {
    const field = 'Origin; fwd=miss; key="a, Larder; hit", Larder; hit; ttl=5, "Some CDN"; fwd=uri-miss';
    expect(readVerdict(field, '1').kind).toBe('hit');
  });

  test('is that of the Larder nearest to the reader, of two', () => {
    expect(readVerdict('Larder; fwd=uri-miss, Larder; hit; ttl=5', null).kind).toBe('hit');
  });

  test.each([
    ['no field', null],
    ['a field of others', 'ExampleCache; hit'],
    ['a malformed field', 'Larder; hit; key="'],
    ['neither hit nor forwarded', 'Larder; ttl=3'],
  ])('is not said with %s', (_, field) => {
    expect(readVerdict(field, '3')).toEqual({ kind: 'unsaid' });
  });

  test('has no age when Age is no number of seconds', () => {
    expect(readVerdict('Larder; hit', 'soon')).toMatchObject({ ageSeconds: null });
    expect(readVerdict('Larder; hit', '-1')).toMatchObject({ ageSeconds: null });
  });
});
