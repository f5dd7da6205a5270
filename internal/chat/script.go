package chat

import (
	"net/url"

	"github.com/redis/go-redis/v9"
)

// A room's keys, which are all in one slot of a Cluster:
//
//	postrider:chat:{room}        the stream
//	postrider:chat:{room}:state  a hash: "last", above which the next id is;
//	                             "archived", up to which all is in SQL
//	postrider:chat:{room}:sent   a hash: the id of what was sent, by sender and
//	                             ClientID, of what the stream has
func keysOf(room string) []string {
	stream := "postrider:chat:{" + url.PathEscape(room) + "}" // a brace of its own would end the tag
	return []string{stream, stream + ":state", stream + ":sent"}
}

// indexKey is a sorted set of the rooms whose streams may have what is not
// archived, by when something was sent there last.
const indexKey = "postrider:chat:rooms"

// helpers are what every script begins with. Ids are compared as numbers: they
// have less than 53 bits.
const helpers = `
local function parts(id)
	local ms, seq = string.match(id, '^(%d+)-(%d+)$')
	return tonumber(ms), tonumber(seq)
end
local function less(a, b)
	local am, as = parts(a)
	local bm, bs = parts(b)
	return am < bm or am == bm and as < bs
end
local function follow(id)
	local ms, seq = parts(id)
	return string.format('%.0f-%.0f', ms, seq + 1)
end
local function now()
	local t = redis.call('TIME')
	return t[1] * 1000 + math.floor(t[2] / 1000)
end
`

// addScript adds a message, whose id is above all that the room ever had: "last"
// says what that is, and where Redis has lost it, the caller, who asks SQL. The
// number within a millisecond begins by chance, so that ids of before and after a
// loss are told apart even where the clock was set back.
//
//	KEYS    of the room
//	ARGV[1] user, ARGV[2] text, ARGV[3] data or "", ARGV[4] ClientID or ""
//	ARGV[5] the chance, ARGV[6] the highest id in SQL, or "" where it is not known
//	returns {"new" or "again", id}, or {"lost", ""} where the highest id is needed
const addScript = helpers + `
local last = redis.call('HGET', KEYS[2], 'last')
if not last then
	if ARGV[6] == '' then
		return {'lost', ''}
	end
	last = ARGV[6]
	local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
	if top[1] and less(last, top[1][1]) then
		last = top[1][1]
	end
end
local name = ARGV[1] .. '\n' .. ARGV[4]
if ARGV[4] ~= '' then
	local id = redis.call('HGET', KEYS[3], name)
	if id then
		return {'again', id}
	end
end
local id = string.format('%.0f-%s', now(), ARGV[5])
if not less(last, id) then
	id = follow(last)
end
redis.call('XADD', KEYS[1], id, 'u', ARGV[1], 't', ARGV[2], 'd', ARGV[3], 'c', ARGV[4])
redis.call('HSET', KEYS[2], 'last', id)
if ARGV[4] ~= '' then
	redis.call('HSET', KEYS[3], name, id)
end
for i = 1, 3 do
	redis.call('PERSIST', KEYS[i])
end
return {'new', id}
`

// dropScript takes a message out of the stream.
//
//	KEYS    of the room
//	ARGV[1] id, ARGV[2] user, ARGV[3] ClientID or ""
const dropScript = `
local name = ARGV[2] .. '\n' .. ARGV[3]
if redis.call('HGET', KEYS[3], name) == ARGV[1] then
	redis.call('HDEL', KEYS[3], name)
end
return redis.call('XDEL', KEYS[1], ARGV[1])
`

// unarchivedScript reads what is not archived.
//
//	KEYS    of the room
//	ARGV[1] how old a message must be, in milliseconds; 0 for all, also those that
//	        are of the future, since the clock was set back
//	ARGV[2] how many at most
//	returns entries of the stream
const unarchivedScript = helpers + `
local archived = redis.call('HGET', KEYS[2], 'archived') or '0-0'
local till = '+'
if ARGV[1] ~= '0' then
	till = string.format('%.0f', now() - ARGV[1])
end
return redis.call('XRANGE', KEYS[1], '(' .. archived, till, 'COUNT', ARGV[2])
`

// archivedScript notes up to where SQL has all, and trims the stream, of nothing
// else: it keeps the newest, unless they are old. A stream of which SQL has all
// goes some time after the last message.
//
//	KEYS    of the room
//	ARGV[1] the id up to which SQL has all, or ""
//	ARGV[2] the highest id in SQL, or ""
//	ARGV[3] how many messages stay, ARGV[4] how long, and how long a stream
//	        without news, in milliseconds
//	ARGV[5] how many are trimmed at most
//	returns 1 if SQL has all of the stream
const archivedScript = helpers + `
local function raise(field, to)
	local at = redis.call('HGET', KEYS[2], field) or '0-0'
	if to ~= '' and less(at, to) then
		redis.call('HSET', KEYS[2], field, to)
		return to
	end
	return at
end
local archived = raise('archived', ARGV[1])
if redis.call('HEXISTS', KEYS[2], 'last') == 1 then
	raise('last', ARGV[2])
end
local from = string.format('%.0f-0', now() - ARGV[4])
if redis.call('XLEN', KEYS[1]) > tonumber(ARGV[3]) then
	local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[3])
	if less(from, newest[#newest][1]) then
		from = newest[#newest][1]
	end
end
if less(archived, from) then
	from = follow(archived)
end
local gone = redis.call('XRANGE', KEYS[1], '-', '(' .. from, 'COUNT', ARGV[5])
if #gone > 0 then
	for _, entry in ipairs(gone) do
		local user, client = entry[2][2], entry[2][8]
		if client ~= '' then
			redis.call('HDEL', KEYS[3], user .. '\n' .. client)
		end
	end
	redis.call('XTRIM', KEYS[1], 'MINID', follow(gone[#gone][1]))
end
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if top[1] and less(archived, top[1][1]) then
	return 0
end
for i = 1, 3 do
	redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return 1
`

// The index is kept by Redis' clock, since those of the processes differ.
//
//	KEYS[1] the index, ARGV[1] a room
const indexScript = helpers + `return redis.call('ZADD', KEYS[1], now(), ARGV[1])`

// unindexScript takes a room out of the index if nothing was sent there for so
// long that whoever has put it in has also added, or failed to.
//
//	KEYS[1] the index, ARGV[1] a room, ARGV[2] that long, in milliseconds
const unindexScript = helpers + `
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) < now() - ARGV[2] then
	return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
`

// entry reads one of the stream.
func entry(room string, x redis.XMessage) (Message, error) {
	id, err := ParseID(x.ID)
	if err != nil {
		return Message{}, err
	}
	field := func(name string) string {
		s, _ := x.Values[name].(string)
		return s
	}
	m := Message{Room: room, ID: id, User: field("u"), Text: field("t"), ClientID: field("c")}
	if data := field("d"); data != "" {
		m.Data = []byte(data)
	}
	return m, nil
}
