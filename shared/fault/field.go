package fault

// What can be wrong with one field of the input, as Field.Code says it.
const (
	FieldRequired         = "REQUIRED"
	FieldInvalidType      = "INVALID_TYPE"
	FieldInvalidFormat    = "INVALID_FORMAT"
	FieldInvalidValue     = "INVALID_VALUE"
	FieldInvalidRange     = "INVALID_RANGE"
	FieldOutOfRange       = "OUT_OF_RANGE"
	FieldEmpty            = "EMPTY"
	FieldTooShort         = "TOO_SHORT"
	FieldTooLong          = "TOO_LONG"
	FieldTooManyKeys      = "TOO_MANY_KEYS"
	FieldTooManyEntries   = "TOO_MANY_ENTRIES"
	FieldTooLarge         = "TOO_LARGE"
	FieldInvalidKeyFormat = "INVALID_KEY_FORMAT"
	FieldKeyTooLong       = "KEY_TOO_LONG"
	FieldInvalidValueType = "INVALID_VALUE_TYPE"
	FieldValueTooLong     = "VALUE_TOO_LONG"
	FieldReserved         = "RESERVED"
	FieldExceedsLimit     = "EXCEEDS_LIMIT"
	FieldNotAllowed       = "NOT_ALLOWED"
	FieldUnknown          = "UNKNOWN_FIELD"
	FieldDuplicate        = "DUPLICATE"
	FieldMissingUppercase = "MISSING_UPPERCASE"
	FieldMissingLowercase = "MISSING_LOWERCASE"
	FieldMissingDigit     = "MISSING_DIGIT"
)
