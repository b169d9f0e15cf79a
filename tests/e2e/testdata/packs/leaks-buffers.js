exports.default = async ({ ready }) => {
  ready();
  console.log("about to leak buffers");
  const kept = [];
  for (;;) { kept.push(Buffer.alloc(8 << 20, 1)); await new Promise((r) => setTimeout(r, 5)); }
};
