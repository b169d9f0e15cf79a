exports.default = async ({ ready, onStop }) => {
  onStop(() => new Promise(() => {}));
  console.log("will ignore stop");
  ready();
  setInterval(() => {}, 1000);
  await new Promise(() => {});
};
