"""The Lua scripts of a Redis inbox: each looks and acts in one step, while nobody else can.

An order is a hash, so is a message. A claim's lease is a key of its own that expires (PX). Three
sorted sets find things again: ``due`` by when they are to be taken up (Redis's clock, ms), ``open``
by ``first_seen``, ``ended`` by when they expire.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

#: ``ended`` keeps an order or message for ``keep`` ms more, and drops expired names from the set.
_END: Final = """
local function ended(key, sets, member, keep)
  redis.call('PEXPIRE', key, keep)
  redis.call('ZREM', sets.due, member)
  redis.call('ZREM', sets.open, member)
  redis.call('ZREMRANGEBYSCORE', sets.ended, '-inf', now())
  redis.call('ZADD', sets.ended, now() + keep, member)
end
"""

#: KEYS of orders: the hash, its lease, then the sets. ARGV[1]: the name in the sets.
_ORDER: Final = """
local order, lease, name = KEYS[1], KEYS[2], ARGV[1]
local sets = {due = KEYS[3], open = KEYS[4], ended = KEYS[5]}
local function ours(token)
  local kept = redis.call('HMGET', order, 'state', 'token')
  return kept[1] and kept[1] ~= 'DONE' and kept[2] == token
end
local function fresh_token()
  local time, last = redis.call('TIME'), redis.call('HGET', order, 'token') or 0
  return string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 2))
end
local function after(token) return string.format('%.0f', token + 1) end
"""

#: KEYS of messages: the hash, the set of the order's open ones, then the sets, then how many open
#: messages each of the merchant's foreign orders has.
_ASIDE: Final = """
local aside, siblings, name, fingerprint = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local sets = {due = KEYS[3], open = KEYS[4], ended = KEYS[5]}
local function schedule(retry)
  local mark = redis.call('HGET', aside, 'mark')
  if mark and mark ~= '' then
    redis.call('ZADD', sets.due, 0, name)
  elseif retry == '' then
    redis.call('ZREM', sets.due, name)
  else
    redis.call('ZADD', sets.due, now() + retry, name)
  end
end
local foreign = KEYS[6]
local function count(by)
  local left = redis.call('HINCRBY', foreign, siblings, by)
  if left <= 0 then redis.call('HDEL', foreign, siblings) end
end
local function close(keep)
  if redis.call('HGET', aside, 'foreign') == '1' then count(-1) end
  redis.call('HSET', aside, 'closed', 1)
  redis.call('SREM', siblings, fingerprint)
  ended(aside, sets, name, keep)
end
local function is_open()
  return redis.call('HGET', aside, 'closed') == '0'
end
"""

_ORDERS: Final = _NOW + _END + _ORDER
_ASIDES: Final = _NOW + _END + _ASIDE

#: lease ms, payload, first_seen, facts -> token (0: not taken), the hash before, the lease left.
#: The token is the time, so that no claim has one that another had. A new order, and one of which
#: only failures were heard, is HELD from here on, so that it is found if its holder dies. Any other
#: record stays what it is.
CLAIM: Final = (
    _ORDERS
    + """
local before, left = redis.call('HGETALL', order), redis.call('PTTL', lease)
local state = redis.call('HGET', order, 'state')
if left > 0 or state == 'DONE' then return {0, before, left} end
local token = fresh_token()
redis.call('HSET', order, 'token', token)
redis.call('SET', lease, token, 'PX', ARGV[2])
if not state or state == 'NOT_PAID' then
  redis.call('HSETNX', order, 'failures', 0)
  redis.call('HSET', order, 'state', 'HELD', 'payload', ARGV[3], 'first_seen', ARGV[4],
    'facts', ARGV[5])
  redis.call('HDEL', order, 'decided')
  redis.call('PERSIST', order)
  redis.call('ZREM', sets.ended, name)
  redis.call('ZADD', sets.due, now() + ARGV[2], name)
  redis.call('ZADD', sets.open, ARGV[4], name)
end
return {tonumber(token), before, left}
"""
)

#: token, lease ms -> 1 where it is ours
RENEW: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return 0 end
redis.call('SET', lease, ARGV[2], 'PX', ARGV[3])
return 1
"""
)

#: token, keep ms, the token before or '' where the claim had made the hash; state, payload,
#: first_seen and facts before
LEAVE: Final = (
    _ORDERS
    + """
if not ours(ARGV[2]) then return 0 end
redis.call('DEL', lease)
if ARGV[4] == '' then
  redis.call('DEL', order)
  redis.call('ZREM', sets.due, name)
  redis.call('ZREM', sets.open, name)
  return 1
end
redis.call('HSET', order, 'token', ARGV[4])
if ARGV[5] == 'NOT_PAID' then
  redis.call('HSET', order, 'state', ARGV[5], 'payload', ARGV[6], 'first_seen', ARGV[7],
    'facts', ARGV[8])
  ended(order, sets, name, ARGV[3])
end
return 1
"""
)

#: token, state, payload, first_seen, facts, failures, reason, retry ms, keep ms -> 1 where it was
#: ours; again, where a client repeats what it got no reply to
SAVE: Final = (
    _ORDERS
    + """
if redis.call('HGET', order, 'token') == after(ARGV[2]) then return 1 end
if not ours(ARGV[2]) then return 0 end
redis.call('HSET', order, 'token', after(ARGV[2]), 'state', ARGV[3], 'payload', ARGV[4],
  'first_seen', ARGV[5], 'facts', ARGV[6], 'failures', ARGV[7], 'reason', ARGV[8])
redis.call('HDEL', order, 'decided')
redis.call('DEL', lease)
if ARGV[3] == 'DONE' or ARGV[3] == 'NOT_PAID' then
  ended(order, sets, name, ARGV[10])
  return 1
end
redis.call('PERSIST', order)
redis.call('ZREM', sets.ended, name)
redis.call('ZADD', sets.open, ARGV[5], name)
if ARGV[3] == 'HELD' then
  redis.call('ZADD', sets.due, now() + ARGV[9], name)
else
  redis.call('ZREM', sets.due, name)
end
return 1
"""
)

#: keep ms, whether the effect is there, what a person decided or '' -> 1 where there was something
#: to decide
MARK_ORDER: Final = (
    _ORDERS
    + """
if redis.call('HGET', order, 'state') ~= 'QUARANTINED' then return 0 end
redis.call('HSET', order, 'token', fresh_token())
redis.call('DEL', lease)
if ARGV[3] == '1' then
  redis.call('HSET', order, 'state', 'DONE')
  ended(order, sets, name, ARGV[2])
else
  redis.call('HSET', order, 'state', 'HELD')
  redis.call('ZADD', sets.due, 0, name)
  if ARGV[4] ~= '' then redis.call('HSET', order, 'decided', ARGV[4]) end
end
return 1
"""
)

#: retry ms or '', decision, reason, payload, first_seen, foreign, MOST_MESSAGES, MOST_FOREIGN -> 1
#: where it is to be reported; a list of what check_room wants to know where there is no room
SET_ASIDE: Final = (
    _ASIDES
    + """
local before = redis.call('HGET', aside, 'decision')
if before and not is_open() then return 0 end
if not before then
  local messages, orders = redis.call('SCARD', siblings), redis.call('HLEN', foreign)
  local of_it = redis.call('HEXISTS', foreign, siblings)
  if messages >= tonumber(ARGV[9])
    or (ARGV[8] == '1' and of_it == 0 and orders >= tonumber(ARGV[10])) then
    return {messages, of_it, orders}
  end
end
local was = redis.call('HGET', aside, 'foreign') or '0'
if was ~= ARGV[8] then count(ARGV[8] == '1' and 1 or -1) end
redis.call('HSET', aside, 'foreign', ARGV[8])
redis.call('HSET', aside, 'decision', ARGV[4], 'reason', ARGV[5], 'payload', ARGV[6])
if not before then
  redis.call('HSET', aside, 'first_seen', ARGV[7], 'tries', 0, 'mark', '', 'closed', 0)
  redis.call('SADD', siblings, fingerprint)
  redis.call('ZADD', sets.open, ARGV[7], name)
end
schedule(ARGV[3])
return before == ARGV[4] and 0 or 1
"""
)

#: retry ms or ''
POSTPONE: Final = (
    _ASIDES
    + """
if not is_open() then return 0 end
redis.call('HINCRBY', aside, 'tries', 1)
if redis.call('HGET', aside, 'mark') == 'RETRY' then redis.call('HSET', aside, 'mark', '') end
schedule(ARGV[3])
return 1
"""
)

#: keep ms
CLOSE: Final = (
    _ASIDES
    + """
if not is_open() then return 0 end
close(ARGV[3])
return 1
"""
)

#: keep ms, mark -> 1 where there was something to decide
MARK_ASIDE: Final = (
    _ASIDES
    + """
if not is_open() then return 0 end
redis.call('HSET', aside, 'mark', ARGV[4])
if ARGV[4] == 'DISMISS' then close(ARGV[3]) else schedule('') end
return 1
"""
)

#: payload before, payload -> 1 where it still waits, unchanged
REPLACE: Final = (
    _ASIDES
    + """
if not is_open() or redis.call('HGET', aside, 'payload') ~= ARGV[3] then return 0 end
redis.call('HSET', aside, 'payload', ARGV[4])
return 1
"""
)

#: KEYS due, open; limit, what the keys of leases begin with -> the names of what is due and in
#: nobody's hands, oldest first_seen first
DUE: Final = (
    _NOW
    + """
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, 10000)
local seen = {}
for _, name in ipairs(names) do
  seen[name] = tonumber(redis.call('ZSCORE', KEYS[2], name) or 0)
end
table.sort(names, function(a, b) return seen[a] < seen[b] end)
local oldest, limit = {}, tonumber(ARGV[1])
for _, name in ipairs(names) do
  if #oldest == limit then break end
  if redis.call('EXISTS', ARGV[2] .. name) == 0 then oldest[#oldest + 1] = name end
end
return oldest
"""
)

#: KEYS hash, ended; name, before -> 1 where something was pruned
PRUNE: Final = """
local kept = redis.call('HMGET', KEYS[1], 'first_seen', 'payload')
if not kept[1] then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) or tonumber(kept[1]) >= tonumber(ARGV[2]) then
  return 0
end
if kept[2] == '' then return 0 end
redis.call('HSET', KEYS[1], 'payload', '')
return 1
"""
