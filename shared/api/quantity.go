package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
)

// Millicores is an amount of CPU in thousandths of a core. JSON output is an
// integer; input may also be a Kubernetes quantity such as "500m" or "2".
type Millicores int64

// Mebibytes is an amount of memory or storage in MiB. JSON output is an
// integer; input may also be a Kubernetes quantity such as "512Mi" or "1Gi".
type Mebibytes int64

const mebibyte = 1 << 20

// Faults of ParseMillicores and ParseMebibytes.
var (
	errQuantitySyntax = errors.New(`is not a quantity such as "500m", "2", "512Mi" or "1Gi"`)
	errQuantityRange  = errors.New("is out of range")
)

// ParseMillicores reads a Kubernetes quantity of cores: "2" is 2000 millicores.
// What is finer than a millicore is rounded up, as Kubernetes does.
func ParseMillicores(s string) (Millicores, error) {
	v, err := parseQuantity(s, 1000)
	if err != nil {
		return 0, fmt.Errorf("%q %w", s, err)
	}
	return Millicores(v), nil
}

// ParseMebibytes reads a Kubernetes quantity of bytes: "1Gi" is 1024 MiB. Parts
// of a MiB are rounded up, but less than one MiB in all is refused: whoever
// writes "512" means 512Mi far more often than 512 bytes.
func ParseMebibytes(s string) (Mebibytes, error) {
	v, err := parseQuantity(s, 1)
	if err != nil {
		return 0, fmt.Errorf("%q %w", s, err)
	}
	if v != 0 && v > -mebibyte && v < mebibyte {
		return 0, fmt.Errorf("%q is less than 1Mi: bytes are meant where no unit is given", s)
	}
	if v > 0 {
		v = (v-1)/mebibyte + 1
	} else {
		v /= mebibyte
	}
	return Mebibytes(v), nil
}

// String writes whole cores plainly and all else in millicores: "2", "500m".
func (m Millicores) String() string {
	if m%1000 == 0 {
		return strconv.FormatInt(int64(m/1000), 10)
	}
	return strconv.FormatInt(int64(m), 10) + "m"
}

// String writes the largest binary unit that leaves a whole number: "512Mi", "1Gi".
func (m Mebibytes) String() string {
	units := []string{"Mi", "Gi", "Ti", "Pi"}
	v, i := int64(m), 0
	for v != 0 && v%1024 == 0 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if v == 0 {
		return "0"
	}
	return strconv.FormatInt(v, 10) + units[i]
}

// UnmarshalJSON takes an integer of millicores, or a quantity in a string.
func (m *Millicores) UnmarshalJSON(data []byte) error {
	v, err := unmarshalQuantity(data, ParseMillicores)
	if err == nil && v != nil {
		*m = *v
	}
	return err
}

// UnmarshalJSON takes an integer of MiB, or a quantity in a string.
func (m *Mebibytes) UnmarshalJSON(data []byte) error {
	v, err := unmarshalQuantity(data, ParseMebibytes)
	if err == nil && v != nil {
		*m = *v
	}
	return err
}

// unmarshalQuantity fails with json.UnmarshalTypeError, because encoding/json
// adds the path of the field to that type alone. A null gives nil.
func unmarshalQuantity[T ~int64](data []byte, parse func(string) (T, error)) (*T, error) {
	text := string(data)
	if text == "null" {
		return nil, nil
	}
	fail := func(value string) error {
		return &json.UnmarshalTypeError{Value: value, Type: reflect.TypeFor[T]()}
	}
	if strings.HasPrefix(text, `"`) {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fail("string")
		}
		v, err := parse(s)
		if err != nil {
			return nil, fail("quantity " + err.Error())
		}
		return &v, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		kind := "number " + text
		if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || text == "true" || text == "false" {
			kind = "no number"
		}
		return nil, fail(kind)
	}
	return new(T(n)), nil
}

// parseQuantity gives s times unit, rounded away from zero. Its grammar is
// Kubernetes': sign, decimal number, then a binary suffix, a decimal suffix or
// an exponent. 128 bits in between keep it exact without math/big, which the
// program of a browser tab would have to carry.
func parseQuantity(s string, unit uint64) (int64, error) {
	rest, negative := s, false
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		negative, rest = rest[0] == '-', rest[1:]
	}
	mantissa, decimals, rest, err := parseDecimal(rest)
	if err != nil {
		return 0, err
	}
	mul, div, err := quantitySuffix(rest)
	if err != nil {
		return 0, err
	}
	over, mul := bits.Mul64(mul, unit)
	over2, div := bits.Mul64(div, pow10(decimals))
	hi, lo := bits.Mul64(mantissa, mul)
	if mantissa != 0 && (over != 0 || over2 != 0 || hi >= div) {
		return 0, errQuantityRange
	}
	if mantissa == 0 {
		return 0, nil
	}
	v, remainder := bits.Div64(hi, lo, div)
	if remainder != 0 {
		v++
	}
	if v > math.MaxInt64 || v == 0 {
		return 0, errQuantityRange
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

const maxDecimals = 9 // nano is the finest that Kubernetes knows

// parseDecimal reads digits with at most one point, and gives what follows.
func parseDecimal(s string) (mantissa uint64, decimals int, rest string, err error) {
	digits, point, i := 0, false, 0
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits++
		if point && decimals == maxDecimals {
			if c != '0' {
				return 0, 0, "", errQuantityRange
			}
			continue
		}
		if mantissa > (math.MaxUint64-9)/10 {
			return 0, 0, "", errQuantityRange
		}
		mantissa = mantissa*10 + uint64(c-'0')
		if point {
			decimals++
		}
	}
	if digits == 0 {
		return 0, 0, "", errQuantitySyntax
	}
	return mantissa, decimals, s[i:], nil
}

// quantitySuffix gives what a suffix multiplies with and divides by.
func quantitySuffix(s string) (mul, div uint64, err error) {
	switch s {
	case "":
		return 1, 1, nil
	case "n":
		return 1, pow10(9), nil
	case "u":
		return 1, pow10(6), nil
	case "m":
		return 1, pow10(3), nil
	case "Ki", "Mi", "Gi", "Ti", "Pi", "Ei":
		return 1 << (10 * (strings.IndexByte("KMGTPE", s[0]) + 1)), 1, nil
	case "k", "M", "G", "T", "P", "E":
		return pow10(3 * (strings.IndexByte("kMGTPE", s[0]) + 1)), 1, nil
	}
	if s[0] != 'e' && s[0] != 'E' {
		return 0, 0, errQuantitySyntax
	}
	exp, err := strconv.Atoi(s[1:])
	switch {
	case err != nil:
		return 0, 0, errQuantitySyntax
	case exp > 18 || exp < -9:
		return 0, 0, errQuantityRange
	case exp < 0:
		return 1, pow10(-exp), nil
	default:
		return pow10(exp), 1, nil
	}
}

func pow10(n int) uint64 {
	v := uint64(1)
	for range n {
		v *= 10
	}
	return v
}
