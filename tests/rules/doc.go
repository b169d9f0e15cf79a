// Package rules holds what the documentation says to what the code does.
package rules
