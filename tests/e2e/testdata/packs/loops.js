exports.default = ({ ready }) => { console.log("about to loop"); ready(); for (;;); };
