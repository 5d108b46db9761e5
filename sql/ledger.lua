#!lua name=apilink_ledger
-- The ledger's functions: the only code that moves money in Redis.
--
-- Every function validates first and writes afterwards; nothing can refuse once the first write is
-- done. Outcomes are strings of a closed set; a call that must not be judged at all (another
-- generation, a passed deadline, an argument that cannot be) gets an error reply instead, and has
-- changed no money.
--
-- Keys of a shard share its hash tag, and each function is given every key that it touches:
--   al:{sN}:shard      hash    generation, phase, last_ms, not_before_ms, lease_ms, entries,
--                              flushed, flushed_id, forgotten_ms
-- and, where G is the generation, so that the next one starts with nothing of this one:
--   al:{sN}:G:w:ID     hash    an account's wallet: balance, held, sequence
--   al:{sN}:G:k:ID     hash    a key: epoch, limits, spend and holds of its window, open requests
--   al:{sN}:G:h:ID     hash    a request's hold
--   al:{sN}:G:leases   zset    request id -> the moment its lease ends
--   al:{sN}:G:done     hash    request id -> how it ended: settled:AMOUNT, released or expired
--   al:{sN}:G:ended    zset    request id -> when, in the shard's time
--   al:{sN}:G:n        hash    gateway incarnation -> its highest settlement number
--   al:{sN}:G:charges  stream  a account, k key, c charged, w window, i incarnation, n number,
--                              s position since the generation began, d the whole charge
--
-- A generation is closed (it only keeps older ones out), then open (wallets are loaded, holds taken
-- again, charges settled), then admitting (requests are reserved for).
--
-- A number in Lua is a double: exact below 2^53, and `tostring` rounds from 10^14. So amounts come
-- and go as strings or integer replies, and are formatted with %.0f wherever they are written.
--
-- A changed argument list takes a new function name, so that gateways of two releases can share a
-- store; REVISION says which release's library stays.

local REVISION = 1
local DIGEST = '@DIGEST@'

local EXACT_MAX = 9007199254740991
local DAY_MS = 86400000
local MINUTE_MS = 60000
-- An ended request is remembered for an hour, by the shard's own time and not by Redis' expiry: a
-- clock that was ahead for a moment would expire what is needed once it is right again. The mark
-- stays longer than the hour by twice what a gateway's clock may differ, so that "older than an
-- hour, by its id" is never said too late. And no id that is as old as one whose mark went is ever
-- taken for a new one, whatever the clocks say by then: `forgotten_ms` is the latest of those.
local REMEMBERED_MS = 3600000
local SKEW_MS = 600000
local MARK_MS = REMEMBERED_MS + 2 * SKEW_MS
local FORGET_MAX = 4 -- per mark that is made, so that forgetting keeps up
local PHASES = {closed = 1, open = 2, admitting = 3}

-- clock: the one line that reads time.
local function server_ms(_) local t = redis.call('TIME') return t[1] * 1e3 + math.floor(t[2] / 1e3) end

local function text(number)
  return string.format('%.0f', number)
end

-- A count or an amount, or nil where it is none.
local function natural(argument)
  if type(argument) ~= 'string' or not string.match(argument, '^%d+$') then
    return nil
  end
  local number = tonumber(argument)
  if number > EXACT_MAX then
    return nil
  end
  return number
end

local function bad_call(what)
  return redis.error_reply('BADCALL ' .. what)
end

local function add(hash, field, amount)
  if amount ~= 0 then -- also because "-0" is not an integer to Redis
    redis.call('HINCRBY', hash, field, text(amount))
  end
end

-- The first 48 bits of a UUIDv7 are its time.
local function id_ms(request_id)
  local digits = string.sub(request_id, 1, 8) .. string.sub(request_id, 10, 13)
  return tonumber(digits, 16)
end

-- Time and fence ----------------------------------------------------------------------------------

local function read_shard(name, generation)
  local s = redis.call('HMGET', name, 'generation', 'last_ms', 'not_before_ms', 'lease_ms',
    'entries', 'flushed', 'forgotten_ms', 'phase')
  if not s[1] then
    return nil, redis.error_reply('NOSHARD the shard is not open')
  end
  if s[1] ~= generation then
    return nil, redis.error_reply('STALEGENERATION ' .. s[1])
  end
  if s[8] == 'closed' then
    return nil, redis.error_reply('NOSHARD the shard is being recovered')
  end
  local raw, last = server_ms(name), tonumber(s[2])
  return {
    raw = raw,
    now = math.max(raw, last),
    last = last,
    not_before = tonumber(s[3]),
    lease = tonumber(s[4]),
    unflushed = tonumber(s[5]) - tonumber(s[6]),
    forgotten = tonumber(s[7] or '0'),
    admits = s[8] == 'admitting',
  }
end

-- The shard's time moves on. A gap or a jump means that gateways may have had no chance to renew:
-- nothing expires for one more lease.
local function tick(name, generation)
  local shard, fault = read_shard(name, generation)
  if fault then
    return nil, fault
  end
  local until_ms = shard.now + shard.lease
  if math.abs(shard.raw - shard.last) * 2 > shard.lease and until_ms > shard.not_before then
    shard.not_before = until_ms
    redis.call('HSET', name, 'last_ms', text(shard.now), 'not_before_ms', text(until_ms))
  elseif shard.now > shard.last then
    redis.call('HSET', name, 'last_ms', text(shard.now))
  end
  return shard
end

local function is_forgotten(request_id, shard)
  local minted = id_ms(request_id)
  return minted <= shard.forgotten or minted < shard.now - REMEMBERED_MS
    or minted > shard.now + SKEW_MS
end

-- Reset windows -----------------------------------------------------------------------------------

-- Days since 1970 -> day of the month, by the proleptic Gregorian calendar: 400 years are 146097
-- days, and a year that begins in March keeps the leap day last.
local function day_of_month(days)
  local z = days + 719468
  local of_era = z % 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  return of_year - math.floor((153 * month + 2) / 5) + 1
end

local function window_start(reset, now)
  local days = math.floor(now / DAY_MS)
  if reset == 'daily' then
    return days * DAY_MS
  elseif reset == 'weekly' then
    return (days - (days + 3) % 7) * DAY_MS -- 1970-01-01 was a Thursday
  elseif reset == 'monthly' then
    return (days - day_of_month(days) + 1) * DAY_MS
  end
  return 0
end

-- Keys --------------------------------------------------------------------------------------------

local function read_key(name)
  local v = redis.call('HMGET', name, 'epoch', 'loaded', 'revoked', 'account', 'limit', 'reset',
    'window', 'spent', 'held', 'roll', 'rpm', 'tpm', 'concurrency', 'open', 'minute',
    'minute_requests', 'minute_tokens')
  return {
    epoch = v[1],
    loaded = v[2] == '1',
    revoked = v[3] == '1',
    account = v[4],
    limit = tonumber(v[5] or ''),
    reset = v[6],
    window = tonumber(v[7] or '0'),
    spent = tonumber(v[8] or '0'),
    held = tonumber(v[9] or '0'),
    roll = tonumber(v[10] or '0'),
    rpm = tonumber(v[11] or ''),
    tpm = tonumber(v[12] or ''),
    concurrency = tonumber(v[13] or ''),
    open = tonumber(v[14] or '0'),
    minute = tonumber(v[15] or '0'),
    minute_requests = tonumber(v[16] or '0'),
    minute_tokens = tonumber(v[17] or '0'),
  }
end

local function save_key(name, key)
  redis.call('HSET', name, 'window', text(key.window), 'spent', text(key.spent),
    'held', text(key.held), 'roll', text(key.roll), 'open', text(key.open),
    'minute', text(key.minute), 'minute_requests', text(key.minute_requests),
    'minute_tokens', text(key.minute_tokens))
end

-- A new window starts with nothing spent and nothing held. `roll` counts windows, so that a hold
-- finds out that its own is gone even where two windows have the same start.
local function enter_window(key, start)
  key.window, key.spent, key.held, key.roll = start, 0, 0, key.roll + 1
end

-- The key as it is now; changes nothing that is stored.
local function bring_up(key, shard)
  local start = window_start(key.reset, shard.now)
  if start > key.window then
    enter_window(key, start)
  end
  -- Rates are no money: they follow the raw clock, so that a clock that was set back by a day
  -- does not hold a minute for a day.
  local minute = math.floor(shard.raw / MINUTE_MS)
  if minute ~= key.minute then
    key.minute, key.minute_requests, key.minute_tokens = minute, 0, 0
  end
end

local function is_stale(key, epoch)
  return not key.loaded or key.revoked or key.epoch ~= epoch
end

local function minute_left_ms(shard)
  return MINUTE_MS - shard.raw % MINUTE_MS
end

-- Limits from a call's arguments, beginning at `first`: epoch, revoked, account, limit, reset, rpm,
-- tpm, concurrency. An empty string is "no limit".
local function store_limits(name, args, first)
  redis.call('HSET', name, 'epoch', args[first], 'revoked', args[first + 1],
    'account', args[first + 2], 'limit', args[first + 3], 'reset', args[first + 4],
    'rpm', args[first + 5], 'tpm', args[first + 6], 'concurrency', args[first + 7])
end

-- Where the reset rhythm changed, the window is another one, and begins now.
local function change_limits(name, key, args, first, shard)
  if key.reset ~= args[first + 4] then
    bring_up(key, shard)
    local start = window_start(args[first + 4], shard.now)
    if start ~= key.window then
      enter_window(key, start)
    end
    save_key(name, key)
  end
  store_limits(name, args, first)
end

-- Wallets and holds -------------------------------------------------------------------------------

local function read_wallet(name)
  local v = redis.call('HMGET', name, 'balance', 'held', 'sequence')
  if not v[1] then
    return nil
  end
  return {balance = tonumber(v[1]), held = tonumber(v[2]), sequence = tonumber(v[3])}
end

local function read_hold(name)
  local v = redis.call('HMGET', name, 'account', 'key', 'amount', 'window', 'roll', 'tokens',
    'minute')
  if not v[1] then
    return nil
  end
  return {
    account = v[1],
    key = v[2],
    amount = tonumber(v[3]),
    window = v[4],
    roll = tonumber(v[5]),
    tokens = tonumber(v[6]),
    minute = tonumber(v[7]),
  }
end

local function store_hold(name, account, key_id, amount, window, key, tokens)
  redis.call('HSET', name, 'account', account, 'key', key_id, 'amount', text(amount),
    'window', window, 'roll', text(key.roll), 'tokens', text(tokens), 'minute', text(key.minute))
end

-- Gives a hold back to wallet and key. A hold counts in its own window only.
local function free(hold, wallet_name, key, tokens)
  if redis.call('HEXISTS', wallet_name, 'balance') == 1 then
    add(wallet_name, 'held', -hold.amount)
  end
  if not key.loaded then
    return
  end
  if hold.roll == key.roll then
    key.held = key.held - hold.amount
  end
  key.open = math.max(0, key.open - 1)
  if hold.minute == key.minute then
    key.minute_tokens = math.max(0, key.minute_tokens + tokens - hold.tokens)
  end
end

local function close(request_id, hold_name, leases)
  redis.call('DEL', hold_name)
  redis.call('ZREM', leases, request_id)
end

local function append(shard_name, charges, account, key_id, charged, window, incarnation, number, data)
  local position = redis.call('HINCRBY', shard_name, 'entries', 1)
  redis.call('XADD', charges, '*', 'a', account, 'k', key_id, 'c', charged, 'w', window,
    'i', incarnation, 'n', number, 's', text(position), 'd', data)
end

local function remember_number(numbers, incarnation, number)
  local highest = tonumber(redis.call('HGET', numbers, incarnation) or '0')
  if tonumber(number) > highest then
    redis.call('HSET', numbers, incarnation, number)
  end
end

local function forget_old(shard_name, done, ended, shard, count_max)
  local old = redis.call('ZRANGEBYSCORE', ended, '-inf', text(shard.now - MARK_MS),
    'LIMIT', 0, count_max)
  if #old == 0 then
    return
  end
  local latest = shard.forgotten
  for _, id in ipairs(old) do
    latest = math.max(latest, id_ms(id))
  end
  -- A key that a call may have emptied is not touched again: while its slot is moved to another
  -- node, the server ends the function there, halfway.
  if latest > shard.forgotten then
    shard.forgotten = latest
    redis.call('HSET', shard_name, 'forgotten_ms', text(latest))
  end
  redis.call('HDEL', done, unpack(old))
  redis.call('ZREM', ended, unpack(old))
end

local function mark(shard_name, done, ended, request_id, how, shard)
  redis.call('HSET', done, request_id, how)
  redis.call('ZADD', ended, text(shard.now), request_id)
  forget_old(shard_name, done, ended, shard, FORGET_MAX)
end

-- nil, or how the request ended before this call.
local function outcome_of(marker, charged)
  if not marker or marker == 'expired' then
    return nil
  elseif marker == 'released' then
    return 'already_released'
  elseif charged == nil or marker == 'settled:' .. charged then
    return 'already_settled'
  end
  return 'exists_with_different_amount'
end

-- The functions -----------------------------------------------------------------------------------

-- version() -> "REVISION:DIGEST"
local function version()
  return text(REVISION) .. ':' .. DIGEST
end

-- move_shard(shard; generation, phase, lease_ms) -> ok | exists
-- Within a generation phases only move forward; a new one begins closed, with nothing but the time:
-- whoever found it open and comes when the store was emptied must not open it once more.
local function move_shard(keys, args)
  local name, generation, phase, lease = keys[1], args[1], args[2], args[3]
  if not natural(generation) or not natural(lease) or not PHASES[phase] then
    return bad_call('a generation and a lease are whole numbers, a phase is one of three')
  end
  local s = redis.call('HMGET', name, 'generation', 'phase', 'last_ms')
  if s[1] and tonumber(s[1]) > tonumber(generation) then
    return redis.error_reply('STALEGENERATION ' .. s[1])
  end
  if s[1] == generation then
    redis.call('HSET', name, 'lease_ms', lease)
    if PHASES[phase] <= PHASES[s[2]] then
      return 'exists'
    end
    redis.call('HSET', name, 'phase', phase)
    return 'ok'
  end
  if phase ~= 'closed' then
    return redis.error_reply('NOSHARD the shard is not there to be opened')
  end
  local now = math.max(server_ms(name), tonumber(s[3] or '0'))
  redis.call('HSET', name, 'generation', generation, 'phase', phase, 'lease_ms', lease,
    'last_ms', text(now), 'not_before_ms', text(now + tonumber(lease)), 'entries', '0',
    'flushed', '0', 'flushed_id', '0-0', 'forgotten_ms', '0')
  return 'ok'
end

-- shard_state(shard, charges; cursor) -> {generation or "", unflushed, has_cursor, phase or ""}
-- `has_cursor` is 1 where the stream still holds the entry that the cursor stands on.
local function shard_state(keys, args)
  local s = redis.call('HMGET', keys[1], 'generation', 'entries', 'flushed', 'phase')
  local found = args[1] == '0-0' or #redis.call('XRANGE', keys[2], args[1], args[1]) == 1
  local unflushed = tonumber(s[2] or '0') - tonumber(s[3] or '0')
  return {s[1] or '', unflushed, found and 1 or 0, s[4] or ''}
end

-- sweep(shard; generation, cursor, count) -> {next cursor, how many keys were removed}
-- What older generations left: one step of a scan over the store. These keys are not declared, since
-- nobody knows their names; they are of the shard's own slot.
local function sweep(keys, args)
  local shard, fault = read_shard(keys[1], args[1])
  if fault then
    return fault
  end
  local prefix = string.sub(keys[1], 1, -6) -- without its last word, "shard"
  local page = redis.call('SCAN', args[2], 'MATCH', prefix .. '*', 'COUNT', args[3])
  local removed = 0
  for _, name in ipairs(page[2]) do
    local of = tonumber(string.match(string.sub(name, #prefix + 1), '^(%d+):') or '')
    if of and of < tonumber(args[1]) then
      removed = removed + redis.call('UNLINK', name)
    end
  end
  return {page[1], removed}
end

-- load_wallet(shard, wallet; generation, balance, sequence, deadline_ms) -> ok | exists
-- Only where there is none: what is here knows more than Postgres does. And not after its deadline:
-- movements that find no wallet count as delivered after a while.
local function load_wallet(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local digits = string.gsub(args[2], '^%-', '')
  if not (natural(digits) and natural(args[3]) and natural(args[4])) then
    return bad_call('a balance, a sequence and a time are whole numbers')
  end
  if shard.raw > tonumber(args[4]) then
    return redis.error_reply('DEADLINE ' .. text(shard.raw))
  end
  if redis.call('HEXISTS', keys[2], 'balance') == 1 then
    return 'exists'
  end
  redis.call('HSET', keys[2], 'balance', args[2], 'held', '0', 'sequence', args[3])
  return 'ok'
end

-- publish_key(shard, key; generation, limits…) -> ok | exists
-- Where the key is not loaded, the epoch alone stays, as a floor: a load that read an older row
-- must not bring a revoked key back.
local function publish_key(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  if not natural(args[2]) then
    return bad_call('an epoch is a whole number')
  end
  local key = read_key(keys[2])
  if key.epoch and tonumber(key.epoch) >= tonumber(args[2]) then
    return 'exists'
  end
  if key.loaded then
    change_limits(keys[2], key, args, 2, shard)
  else
    redis.call('HSET', keys[2], 'epoch', args[2])
  end
  return 'ok'
end

-- load_key(shard, key; generation, limits…, {window, spent}…) -> ok | exists | stale_key
local function load_key(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  if not natural(args[2]) then
    return bad_call('an epoch is a whole number')
  end
  local key = read_key(keys[2])
  local floor = tonumber(key.epoch or '0')
  if floor > tonumber(args[2]) then
    return 'stale_key'
  end
  if key.loaded then
    if floor == tonumber(args[2]) then
      return 'exists'
    end
    change_limits(keys[2], key, args, 2, shard)
    return 'ok'
  end
  key.window = window_start(args[6], shard.now)
  for i = 10, #args, 2 do
    if tonumber(args[i]) == key.window then
      key.spent = tonumber(args[i + 1])
    end
  end
  store_limits(keys[2], args, 2)
  save_key(keys[2], key)
  redis.call('HSET', keys[2], 'loaded', '1')
  return 'ok'
end

local function seen(outcome, shard, wallet, key, retry_after_ms)
  wallet = wallet or {balance = 0, held = 0, sequence = 0}
  return {
    outcome, shard.raw, retry_after_ms or 0,
    wallet.balance, wallet.held, wallet.sequence,
    key.window, key.limit or -1, key.spent, key.held,
    key.rpm or -1, key.minute_requests, key.tpm or -1, key.minute_tokens,
    minute_left_ms(shard),
  }
end

-- What stands against a new hold: an outcome and when to come again, or nil.
local function refusal(shard, wallet, key, amount, tokens)
  if key.concurrency and key.open + 1 > key.concurrency then
    return 'concurrency_limited', 1000
  end
  if key.rpm and key.minute_requests + 1 > key.rpm then
    return 'rate_limited', minute_left_ms(shard)
  end
  if key.tpm and key.minute_tokens + tokens > key.tpm then
    return 'rate_limited', minute_left_ms(shard)
  end
  if amount == 0 then -- what costs nothing needs no money
    return nil
  end
  if key.limit and key.spent + key.held + amount > key.limit then
    return 'key_limit_exceeded', 0
  end
  if wallet.balance - wallet.held - amount < 0 then
    return 'insufficient_balance', 0
  end
  return nil
end

-- What became of this id before: an outcome, or nil.
local function before(marker, hold, amount)
  if marker == 'expired' then -- the first delivery took the hold, and nobody came for it
    return 'already_released'
  end
  local how = outcome_of(marker, nil)
  if how or not hold then
    return how
  end
  return hold.amount == amount and 'exists' or 'exists_with_different_amount'
end

-- reserve(shard, wallet, key, hold, leases, done; generation, request_id, account, key_id, epoch,
--         amount, tokens, deadline_ms, lease_ms, unflushed_max) -> the outcome and what was seen
local function reserve(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local id, amount, tokens, lease = args[2], natural(args[6]), natural(args[7]), natural(args[9])
  if not (amount and tokens and lease and natural(args[8]) and natural(args[10])) then
    return bad_call('amounts, tokens and times are whole numbers')
  end
  if shard.raw > tonumber(args[8]) then
    return redis.error_reply('DEADLINE ' .. text(shard.raw))
  end
  if not shard.admits then
    return redis.error_reply('NOSHARD the shard is being recovered')
  end
  if shard.unflushed > tonumber(args[10]) then
    return redis.error_reply('BACKLOG ' .. text(shard.unflushed) .. ' charges are not in Postgres')
  end
  if math.abs(shard.raw - id_ms(id)) > SKEW_MS or id_ms(id) <= shard.forgotten then
    return redis.error_reply('SKEW ' .. text(shard.raw))
  end
  local key, wallet = read_key(keys[3]), read_wallet(keys[2])
  bring_up(key, shard)
  local outcome = before(redis.call('HGET', keys[6], id), read_hold(keys[4]), amount)
  if outcome then
    return seen(outcome, shard, wallet, key)
  end
  if is_stale(key, args[5]) or key.account ~= args[3] then
    return seen('stale_key', shard, wallet, key)
  end
  if not wallet then
    return seen('unknown_wallet', shard, wallet, key)
  end
  local refused, retry_after_ms = refusal(shard, wallet, key, amount, tokens)
  if refused then
    return seen(refused, shard, wallet, key, retry_after_ms)
  end
  -- Nothing was written before this line, and nothing refuses after it.
  key.held, key.open = key.held + amount, key.open + 1
  key.minute_requests, key.minute_tokens = key.minute_requests + 1, key.minute_tokens + tokens
  wallet.held = wallet.held + amount
  add(keys[2], 'held', amount)
  save_key(keys[3], key)
  store_hold(keys[4], args[3], args[4], amount, text(key.window), key, tokens)
  redis.call('ZADD', keys[5], text(shard.now + lease), id)
  return seen('ok', shard, wallet, key)
end

-- extend(shard, wallet, key, hold, done; generation, request_id, total) -> ok | exists | not_found |
--        insufficient_balance | key_limit_exceeded | already_settled | already_released
local function extend(keys, args)
  local _, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local total = natural(args[3])
  if not total then
    return bad_call('an amount is a whole number')
  end
  local hold = read_hold(keys[4])
  if not hold then
    return outcome_of(redis.call('HGET', keys[5], args[2]), nil) or 'not_found'
  end
  local more = total - hold.amount
  if more <= 0 then
    return 'exists'
  end
  local wallet, key = read_wallet(keys[2]), read_key(keys[3])
  if not wallet then
    return 'unknown_wallet'
  end
  local counts = key.loaded and hold.roll == key.roll
  if counts and key.limit and key.spent + key.held + more > key.limit then
    return 'key_limit_exceeded'
  end
  if wallet.balance - wallet.held - more < 0 then
    return 'insufficient_balance'
  end
  add(keys[2], 'held', more)
  if counts then
    add(keys[3], 'held', more)
  end
  redis.call('HSET', keys[4], 'amount', text(total))
  return 'ok'
end

-- renew(shard, wallet, key, hold, leases, done; generation, request_id, account, key_id, amount,
--       window, deadline_ms, lease_ms) -> ok | already_settled | already_released | not_found |
--       unknown_wallet | stale_key
-- Takes a hold again that was lost or had expired, whatever the balance says by now: the request
-- runs, and would be charged in full without a hold just as well.
local function renew(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local id, amount, lease = args[2], natural(args[5]), natural(args[8])
  if not (amount and lease and natural(args[6]) and natural(args[7])) then
    return bad_call('amounts, windows and times are whole numbers')
  end
  if shard.raw > tonumber(args[7]) then
    return redis.error_reply('DEADLINE ' .. text(shard.raw))
  end
  if redis.call('EXISTS', keys[4]) == 0 then
    local marker = redis.call('HGET', keys[6], id)
    local outcome = outcome_of(marker, nil)
    if outcome then
      return outcome
    end
    if not marker and id_ms(id) <= shard.forgotten then
      return 'not_found' -- it may have been settled: taken again, it would be charged again
    end
    if not read_wallet(keys[2]) then
      return 'unknown_wallet'
    end
    local key = read_key(keys[3])
    if not key.loaded then
      return 'stale_key' -- taken without it, the hold would be given back to a key that never had it
    end
    local counts = key.window == tonumber(args[6])
    add(keys[2], 'held', amount)
    add(keys[3], 'open', 1)
    add(keys[3], 'held', counts and amount or 0)
    key.roll = counts and key.roll or -1
    key.minute = -1 -- its tokens were counted when it was first taken
    store_hold(keys[4], args[3], args[4], amount, args[6], key, 0)
    redis.call('HDEL', keys[6], id)
  end
  redis.call('ZADD', keys[5], text(shard.now + lease), id)
  return 'ok'
end

-- settle(shard, wallet, key, hold, leases, done, ended, numbers, charges; generation, request_id, account,
--        key_id, charged, window, tokens, incarnation, number, data, known_ms) -> ok | settled_late |
--        already_settled | exists_with_different_amount | already_released | not_found |
--        unknown_wallet
-- `not_found`: the id may have been settled and forgotten, which Postgres knows. `known_ms` says that
-- it was asked and has no settlement from before that moment, by the shard's time; every later one
-- has its mark here, as long as that moment is not older than marks are.
local function settle(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local id, charged, window, tokens = args[2], natural(args[5]), natural(args[6]), natural(args[7])
  local known_ms = natural(args[11])
  if not (charged and window and tokens and natural(args[9]) and known_ms) then
    return bad_call('amounts, windows, tokens, numbers and times are whole numbers')
  end
  local marker = redis.call('HGET', keys[6], id)
  local outcome = outcome_of(marker, args[5])
  if outcome then
    return outcome
  end
  local hold = read_hold(keys[4])
  if hold and (hold.account ~= args[3] or hold.key ~= args[4]) then
    return bad_call('the hold is of another account or key')
  end
  local is_known = known_ms > shard.now - MARK_MS
  if not hold and not marker and not is_known and is_forgotten(id, shard) then
    return 'not_found'
  end
  if not read_wallet(keys[2]) then
    return 'unknown_wallet' -- a wallet made here would keep the true one from being loaded
  end
  -- Nothing was written before this line, and nothing refuses after it.
  append(keys[1], keys[9], args[3], args[4], args[5], args[6], args[8], args[9], args[10])
  add(keys[2], 'balance', -charged)
  local key = read_key(keys[3])
  if hold then
    free(hold, keys[2], key, tokens)
    close(id, keys[4], keys[5])
  end
  if key.loaded then
    if key.window == window then
      key.spent = key.spent + charged
    end
    save_key(keys[3], key)
  end
  mark(keys[1], keys[6], keys[7], id, 'settled:' .. args[5], shard)
  remember_number(keys[8], args[8], args[9])
  return hold and 'ok' or 'settled_late'
end

-- release(shard, wallet, key, hold, leases, done, ended, numbers, charges; generation, request_id,
--         account, key_id, window, incarnation, number, data) -> ok | not_found | already_settled |
--         already_released
-- Without a hold it leaves its mark all the same: a reservation that was delayed finds it. With
-- `data` it writes the request's row, of no charge.
local function release(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  if not (natural(args[5]) and natural(args[7])) then
    return bad_call('windows and numbers are whole numbers')
  end
  local outcome = outcome_of(redis.call('HGET', keys[6], args[2]), nil)
  if outcome then
    return outcome
  end
  local hold = read_hold(keys[4])
  if hold and (hold.account ~= args[3] or hold.key ~= args[4]) then
    return bad_call('the hold is of another account or key')
  end
  if args[8] ~= '' then
    append(keys[1], keys[9], args[3], args[4], '0', args[5], args[6], args[7], args[8])
    remember_number(keys[8], args[6], args[7])
  end
  if hold then
    local key = read_key(keys[3])
    free(hold, keys[2], key, 0)
    if key.loaded then
      save_key(keys[3], key)
    end
    close(args[2], keys[4], keys[5])
  end
  mark(keys[1], keys[6], keys[7], args[2], 'released', shard)
  return hold and 'ok' or 'not_found'
end

-- due(shard, leases, done, ended; generation, count_max) -> request ids whose lease has ended
-- Called every few seconds, so it forgets old requests where no new ones come.
local function due(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  forget_old(keys[1], keys[3], keys[4], shard, tonumber(args[2]))
  if shard.now < shard.not_before then
    return {}
  end
  return redis.call('ZRANGEBYSCORE', keys[2], '-inf', text(shard.now), 'LIMIT', 0, args[2])
end

-- expire(shard, wallet, key, hold, leases, done, ended, charges; generation, request_id, account, key_id,
--        amount, window, data) -> ok | exists | not_found
-- `exists`: the lease was renewed, or the hold changed, since it was listed.
local function expire(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local id = args[2]
  local hold = read_hold(keys[4])
  if not hold then
    redis.call('ZREM', keys[5], id)
    return 'not_found'
  end
  local lease = tonumber(redis.call('ZSCORE', keys[5], id) or '0')
  if shard.now < shard.not_before or lease > shard.now then
    return 'exists'
  end
  if hold.account ~= args[3] or hold.key ~= args[4] or hold.amount ~= tonumber(args[5]) then
    return 'exists'
  end
  append(keys[1], keys[8], args[3], args[4], '0', args[6], '', '0', args[7])
  local key = read_key(keys[3])
  free(hold, keys[2], key, hold.tokens)
  if key.loaded then
    save_key(keys[3], key)
  end
  close(id, keys[4], keys[5])
  mark(keys[1], keys[6], keys[7], id, 'expired', shard)
  return 'ok'
end

-- apply(shard, wallet; generation, sequence, amount) -> ok | exists | not_found | unknown_wallet
-- Movements from Postgres, in the order of their account's sequence, without a gap.
local function apply(keys, args)
  local _, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local sequence, size = natural(args[2]), natural((string.gsub(args[3], '^%-', '')))
  if not sequence or not size then
    return bad_call('a sequence and an amount are whole numbers')
  end
  local wallet = read_wallet(keys[2])
  if not wallet then
    return 'unknown_wallet'
  elseif sequence <= wallet.sequence then
    return 'exists'
  elseif sequence > wallet.sequence + 1 then
    return 'not_found'
  elseif math.abs(wallet.balance + tonumber(args[3])) > EXACT_MAX then
    return bad_call('the balance would not be exact')
  end
  add(keys[2], 'balance', tonumber(args[3]))
  redis.call('HSET', keys[2], 'sequence', args[2])
  return 'ok'
end

-- key_state(shard, wallet, key; generation, epoch) -> the outcome and what was seen
local function key_state(keys, args)
  local shard, fault = read_shard(keys[1], args[1])
  if fault then
    return fault
  end
  local key, wallet = read_key(keys[3]), read_wallet(keys[2])
  bring_up(key, shard)
  local outcome = 'ok'
  if is_stale(key, args[2]) then
    outcome = 'stale_key'
  elseif not wallet then
    outcome = 'unknown_wallet'
  end
  return seen(outcome, shard, wallet, key)
end

-- snapshot(shard, wallet, charges; generation) -> {balance, held, sequence, last stream id} | {}
local function snapshot(keys, args)
  local _, fault = read_shard(keys[1], args[1])
  if fault then
    return fault
  end
  local wallet = read_wallet(keys[2])
  if not wallet then
    return {}
  end
  local last = redis.call('XREVRANGE', keys[3], '+', '-', 'COUNT', 1)
  return {wallet.balance, wallet.held, wallet.sequence, last[1] and last[1][1] or '0-0'}
end

-- heartbeat(shard, numbers; generation, incarnation) -> {now in ms, highest number}
local function heartbeat(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  return {shard.raw, tonumber(redis.call('HGET', keys[2], args[2]) or '0')}
end

-- tail(shard, charges; generation) -> {the shard's time in ms, last stream id}
local function tail(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local last = redis.call('XREVRANGE', keys[2], '+', '-', 'COUNT', 1)
  return {shard.now, last[1] and last[1][1] or '0-0'}
end

-- forget(shard, numbers; generation, incarnation) -> ok: its journal is gone, all is in Postgres
local function forget(keys, args)
  local _, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  redis.call('HDEL', keys[2], args[2])
  return 'ok'
end

-- The stream --------------------------------------------------------------------------------------

local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then
      return fields[i + 1]
    end
  end
  return nil
end

local function is_before(id, other)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  local other_ms, other_n = string.match(other, '^(%d+)-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or ms == other_ms and tonumber(n) < tonumber(other_n)
end

-- read_charges(shard, charges; generation, cursor, after, count) -> entries after `after`
-- A cursor whose entry is gone means that the stream lost something, and one behind where it was
-- that Postgres did: nothing is read.
local function read_charges(keys, args)
  local _, fault = read_shard(keys[1], args[1])
  if fault then
    return fault
  end
  local told = redis.call('HGET', keys[1], 'flushed_id') or '0-0'
  if is_before(args[2], told) then
    return redis.error_reply('STOREBEHIND Postgres had everything up to ' .. told)
  end
  if args[2] ~= '0-0' and #redis.call('XRANGE', keys[2], args[2], args[2]) == 0 then
    return redis.error_reply('STREAMLOST the stream does not reach back to ' .. args[2])
  end
  return redis.call('XRANGE', keys[2], '(' .. args[3], '+', 'COUNT', args[4])
end

-- flushed(shard, charges; generation, cursor, retain_ms, retain_entries) -> {unflushed, retained}
-- Says how far Postgres is, and trims what is an hour behind or too much; the cursor's own entry
-- and everything after it stay.
local function flushed(keys, args)
  local shard, fault = tick(keys[1], args[1])
  if fault then
    return fault
  end
  local cursor = args[2]
  local at = redis.call('XRANGE', keys[2], cursor, cursor)[1]
  if not at then
    return {shard.unflushed, redis.call('XLEN', keys[2])}
  end
  local entries = tonumber(redis.call('HGET', keys[1], 'entries'))
  local position = tonumber(field(at, 's') or '0')
  local done = math.max(position, entries - shard.unflushed)
  redis.call('HSET', keys[1], 'flushed', text(done), 'flushed_id', cursor)
  local bound = text(shard.raw - tonumber(args[3])) .. '-0'
  if tonumber(string.match(cursor, '^%d+')) < shard.raw - tonumber(args[3]) then
    bound = cursor
  end
  redis.call('XTRIM', keys[2], 'MINID', '=', bound)
  local keep = entries - done + math.max(1, tonumber(args[4]))
  redis.call('XTRIM', keys[2], 'MAXLEN', '=', text(keep))
  return {entries - done, redis.call('XLEN', keys[2])}
end

-- charged(charges; account, after, until, count) -> {sum, last id read or "", entries read}
local function charged(keys, args)
  if args[2] ~= '0-0' and #redis.call('XRANGE', keys[1], args[2], args[2]) == 0 then
    return redis.error_reply('STREAMLOST the stream does not reach back to ' .. args[2])
  end
  local page = redis.call('XRANGE', keys[1], '(' .. args[2], args[3], 'COUNT', args[4])
  local sum = 0
  for _, entry in ipairs(page) do
    if field(entry, 'a') == args[1] then
      sum = sum + tonumber(field(entry, 'c'))
    end
  end
  return {sum, page[1] and page[#page][1] or '', #page}
end

local READ = {'no-writes'}
local ALWAYS = {'allow-oom'} -- what ends or keeps a hold runs in a full store too
local FUNCTIONS = {
  {'version', version, READ},
  {'move_shard', move_shard, ALWAYS},
  {'sweep', sweep, ALWAYS},
  {'shard_state', shard_state, READ},
  {'load_wallet', load_wallet},
  {'publish_key', publish_key, ALWAYS},
  {'load_key', load_key},
  {'reserve', reserve},
  {'extend', extend},
  {'renew', renew, ALWAYS},
  {'settle', settle, ALWAYS},
  {'release', release, ALWAYS},
  {'due', due, ALWAYS},
  {'expire', expire, ALWAYS},
  {'apply', apply, ALWAYS},
  {'key_state', key_state, READ},
  {'snapshot', snapshot, READ},
  {'heartbeat', heartbeat, ALWAYS},
  {'tail', tail, ALWAYS},
  {'forget', forget, ALWAYS},
  {'read_charges', read_charges, READ},
  {'flushed', flushed, ALWAYS},
  {'charged', charged, READ},
}
for i = 1, #FUNCTIONS do -- Lua's own functions are not there while a library loads
  local entry = FUNCTIONS[i]
  redis.register_function{
    function_name = 'ledger_' .. entry[1], callback = entry[2], flags = entry[3] or {},
  }
end
