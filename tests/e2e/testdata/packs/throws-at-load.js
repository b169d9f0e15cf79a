console.log("about to fail at load");
throw new Error("broken at load");
