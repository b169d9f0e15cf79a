// Returns after one line.
exports.default = async ({ log, env }) => { log.info(`done ${env.GREETING ?? "without greeting"}`); };
