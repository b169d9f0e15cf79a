exports.default = async ({ ready }) => {
  ready();
  console.log("about to leak heap");
  const kept = [];
  for (;;) { kept.push(new Array(100000).fill(kept.length)); await new Promise((r) => setImmediate(r)); }
};
