package cli

// Version is what every executable of ours calls itself. build.sh sets it
// while linking; a plain `go build` leaves it as it is here.
var Version = "devel"
