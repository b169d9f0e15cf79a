exports.default = async ({ ready }) => {
  ready();
  console.log("about to kill my process");
  await new Promise((r) => setTimeout(r, 100));
  process.kill(process.pid, "SIGKILL");
};
