package migrate

// UpFrom is Up with the migrations of a file system.
var UpFrom = up
