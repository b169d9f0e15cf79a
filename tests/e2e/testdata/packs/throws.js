exports.default = async ({ ready }) => { ready(); console.error("about to throw"); throw new TypeError("broken at run"); };
