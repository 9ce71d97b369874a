-- The health of a ClientCertificateRef in Argo CD, from the resource's conditions.
local function condition(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, found in ipairs(obj.status.conditions) do
      if found.type == kind then
        return found
      end
    end
  end
  return nil
end

local function is_true(found)
  return found ~= nil and found.status == "True"
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "being deleted" }
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the first reconcile of this generation" }
end
if is_true(condition("Suspended")) then
  return { status = "Suspended", message = condition("Suspended").message }
end
-- A retry does not help: a user has to change the spec, AWS or the cluster.
if is_true(condition("Stalled")) then
  return { status = "Degraded", message = condition("Stalled").message }
end
local ready = condition("Ready")
if ready == nil then
  return { status = "Progressing", message = "waiting for the first response of API Gateway" }
end
if ready.status ~= "True" then
  return { status = "Progressing", message = ready.reason .. ": " .. ready.message }
end
-- A Ready resource stays healthy while AWS is unavailable, and until its certificate has expired; the message shows that it expires soon.
if is_true(condition("Expiring")) then
  return { status = "Healthy", message = condition("Expiring").message }
end
return { status = "Healthy", message = ready.message }
