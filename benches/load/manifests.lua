-- Playlists and MPDs alone, as players ask for them: compressed. Arguments: FOLDER-OF-LISTS SCRIPTS.

function setup(thread)
  count = (count or 0) + 1
  thread:set("number", count)
end

function init(args)
  package.path = args[2] .. "/?.lua"
  local paths = require("paths")
  local next_path = paths.rotation(paths.read(args[1] .. "/manifests.txt"), number)
  local headers = { ["Accept-Encoding"] = "gzip, deflate, br" }
  request = function() return wrk.format("GET", next_path(), headers) end
end

function done(summary, latency)
  package.path = os.getenv("HEADWATER_LOAD_SCRIPTS") .. "/?.lua"
  require("paths").done(summary, latency)
end
