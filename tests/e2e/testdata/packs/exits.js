exports.default = async ({ ready }) => { ready(); console.log("about to exit"); process.exit(7); };
