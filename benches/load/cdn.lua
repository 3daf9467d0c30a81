-- A CDN's pull: all segments of all tracks in rotation, as a region's viewers move on through them, and every twentieth time a
-- manifest, which edges revalidate more often than media. Arguments: FOLDER-OF-LISTS SCRIPTS.

local MANIFEST_EVERY = 20

function setup(thread)
  count = (count or 0) + 1
  thread:set("number", count)
end

function init(args)
  package.path = args[2] .. "/?.lua"
  local paths = require("paths")
  local next_segment = paths.rotation(paths.read(args[1] .. "/segments.txt"), number)
  local next_manifest = paths.rotation(paths.read(args[1] .. "/manifests.txt"), number)
  local media = { ["User-Agent"] = "cdn", ["Via"] = "1.1 edge" }
  local text = { ["User-Agent"] = "cdn", ["Via"] = "1.1 edge", ["Accept-Encoding"] = "gzip" }
  local asked = 0
  request = function()
    asked = asked + 1
    if asked % MANIFEST_EVERY == 0 then return wrk.format("GET", next_manifest(), text) end
    return wrk.format("GET", next_segment(), media)
  end
end

function done(summary, latency)
  package.path = os.getenv("HEADWATER_LOAD_SCRIPTS") .. "/?.lua"
  require("paths").done(summary, latency)
end
