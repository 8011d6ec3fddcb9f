-- Health of a TradingBot for Argo CD. Base and table functions only: Argo CD loads no others by default.
-- Degraded is what the operator calls Degraded, and what stops trading for good. What passes by itself (market data, an RPC
-- outage) is Progressing, so that neither a first sync nor a bad day of a provider counts as a failed deployment.
local WAITS_FOR_A_PERSON = {Paused = true, Halted = true, ClosingOut = true}
local NEVER_PASSES_BY_ITSELF = {LedgerBehindChain = true, LedgerNotDurable = true, WalletEmpty = true}

local function table_or_empty(value)
  if type(value) == "table" then return value end
  return {}
end

local function text_of(condition, otherwise)
  local message, reason = condition.message, condition.reason
  if type(message) ~= "string" or message == "" then message = otherwise end
  if type(reason) == "string" and reason ~= "" then return reason .. ": " .. message end
  return message
end

local metadata = table_or_empty(obj.metadata)
local status = table_or_empty(obj.status)
local by_type = {}
for _, condition in pairs(table_or_empty(status.conditions)) do
  if type(condition) == "table" and type(condition.type) == "string" then by_type[condition.type] = condition end
end
local drained, ready = table_or_empty(by_type.Drained), table_or_empty(by_type.Ready)
local degraded, trading = table_or_empty(by_type.Degraded), table_or_empty(by_type.Trading)
local progressing = table_or_empty(by_type.Progressing)

if metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = text_of(drained, "draining before it is deleted")}
end
if type(status.observedGeneration) ~= "number" then
  return {status = "Progressing", message = "no operator has looked at it yet"}
end
if type(metadata.generation) == "number" and status.observedGeneration < metadata.generation then
  return {status = "Progressing", message = "the operator has not seen the newest spec yet"}
end
if degraded.status == "True" then
  return {status = "Degraded", message = text_of(degraded, "see its conditions")}
end
if trading.status == "False" and NEVER_PASSES_BY_ITSELF[trading.reason] then
  return {status = "Degraded", message = text_of(trading, "it cannot trade")}
end
if ready.status ~= "True" then
  return {status = "Progressing", message = text_of(ready, "not ready yet")}
end
if progressing.status == "True" then
  return {status = "Progressing", message = text_of(progressing, "a change is rolling out")}
end
if trading.status == "True" then
  return {status = "Healthy", message = text_of(trading, "trading")}
end
if trading.status == "False" and WAITS_FOR_A_PERSON[trading.reason] then
  return {status = "Suspended", message = text_of(trading, "waits for a person")}
end
return {status = "Progressing", message = text_of(trading, "not trading yet")}
