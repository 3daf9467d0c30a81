-- One hot set: a few segments that everybody watches now. Arguments: FOLDER-OF-LISTS SCRIPTS.

function setup(thread)
  count = (count or 0) + 1
  thread:set("number", count)
end

function init(args)
  package.path = args[2] .. "/?.lua"
  local paths = require("paths")
  local next_path = paths.rotation(paths.read(args[1] .. "/hot.txt"), number)
  request = function() return wrk.format("GET", next_path()) end
end

function done(summary, latency)
  package.path = os.getenv("HEADWATER_LOAD_SCRIPTS") .. "/?.lua"
  require("paths").done(summary, latency)
end
