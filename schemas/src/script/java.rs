//! What of Java and ThingsBoard has a translation: methods, helper functions and classes, by their names. Never says what they do:
//! that is the data plane's prelude.

/// Methods that the prelude has under the same name with a `$`; others are called as they are.
pub const METHODS: &str = "size isEmpty clear clone equals toString compareTo toArray toList toUnmodifiable \
    get put putIfAbsent putAll getOrDefault containsKey containsValue keys keySet values entrySet getKey getValue sortByKey sortByValue \
    add addAll set remove removeAll contains indexOf lastIndexOf sort toSorted reverse push pop with subList \
    length charAt substring matches replace replaceAll replaceFirst split isBlank toCharArray getBytes equalsIgnoreCase toUpperCase \
    toLowerCase intValue longValue doubleValue floatValue";

/// ThingsBoard's helper functions. Those of them that JavaScript has too, and otherwise, have a `$` in the prelude.
pub const FUNCTIONS: &str = "btoa atob stringToBytes bytesToString decodeToString decodeToJson bytesToHex hexToBytes hexToBytesArray \
    hexToBase64 bytesToBase64 base64ToBytes base64ToBytesList base64ToHex bytesToExecutionArrayList printUnsignedBytes \
    $parseInt parseLong $parseFloat parseDouble parseHexIntLongToFloat \
    parseHexToInt parseLittleEndianHexToInt parseBigEndianHexToInt parseHexToLong parseLittleEndianHexToLong parseBigEndianHexToLong \
    parseHexToFloat parseLittleEndianHexToFloat parseBigEndianHexToFloat \
    parseHexToDouble parseLittleEndianHexToDouble parseBigEndianHexToDouble \
    parseBytesToInt parseBytesToLong parseBytesToFloat parseBytesToDouble parseBytesIntToFloat parseBytesLongToDouble \
    intToHex longToHex intLongToRadixString floatToHex doubleToHex toFixed toInt isBinary isOctal isDecimal isHexadecimal isNaN \
    padStart padEnd parseByteToBinaryArray parseBytesToBinaryArray parseLongToBinaryArray parseBinaryArrayToInt \
    isInsidePolygon isInsideCircle toFlatMap raiseError isMap isList isArray isSet newSet toSet encodeURI decodeURI";

/// What may stand before a parenthesis and is no function, and functions that only JavaScript has.
const OTHERS: &str = "if for foreach while until do switch case catch return throw else typeof void delete in of new function def and or \
    super yield await Number String Boolean Array Object Symbol BigInt RegExp Error isFinite escape unescape";

/// Java's classes and what scripts may ask of them.
pub const CLASSES: [(&str, &str); 11] = [
    (
        "Integer",
        "parseInt valueOf toString toHexString toOctalString toBinaryString toUnsignedLong compare max min sum MAX_VALUE MIN_VALUE",
    ),
    ("Long", "parseLong valueOf toString toHexString toOctalString toBinaryString compare max min sum MAX_VALUE MIN_VALUE"),
    ("Short", "parseShort valueOf toUnsignedInt"),
    ("Byte", "parseByte valueOf toUnsignedInt"),
    (
        "Double",
        "parseDouble valueOf toString isNaN isFinite isInfinite compare max min sum MAX_VALUE MIN_VALUE NaN POSITIVE_INFINITY \
         NEGATIVE_INFINITY",
    ),
    (
        "Float",
        "parseFloat valueOf toString isNaN isFinite isInfinite compare max min sum MAX_VALUE MIN_VALUE NaN POSITIVE_INFINITY \
         NEGATIVE_INFINITY",
    ),
    ("Boolean", "parseBoolean valueOf toString"),
    ("String", "valueOf format join"),
    ("Date", "now parse UTC"),
    ("Math", "toRadians toDegrees signum rint floorDiv floorMod"),
    ("JSON", ""),
];

/// What the same classes have in JavaScript, meaning the same.
const SAME: [(&str, &str); 2] = [
    (
        "Math",
        "abs acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh exp expm1 floor fround hypot log log10 log1p max min pow random \
         round sign sin sinh sqrt tan tanh trunc E PI LN2 LN10 SQRT2",
    ),
    ("JSON", "parse stringify"),
];

/// Names with a capital that JavaScript has; what is asked of them is JavaScript's.
const GLOBALS: &str = "Number Array Object Symbol BigInt RegExp Error Infinity NaN";

fn has(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known == name)
}

pub(super) fn is_method(name: &str) -> bool {
    has(METHODS, name)
}

/// What calls to a function that the script does not declare become. `None`: there is no such function.
pub(super) fn function(name: &str) -> Option<&'static str> {
    let of_prelude = FUNCTIONS.split_ascii_whitespace().find(|known| known.strip_prefix('$').unwrap_or(known) == name);
    of_prelude.or_else(|| OTHERS.split_ascii_whitespace().find(|known| *known == name))
}

/// Whether what is asked of a class has a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// No class of this name is known.
    NoClass,
    /// It has no such method.
    Nothing,
    /// Under the same name with a `$`.
    Prelude,
    /// As it is.
    Same,
}

pub(super) fn asked(class: &str, member: &str) -> Asked {
    let of = |classes: &[(&str, &'static str)]| classes.iter().find(|(name, _)| *name == class).map(|(_, members)| *members);
    if of(&SAME).is_some_and(|members| has(members, member)) || has(GLOBALS, class) {
        return Asked::Same;
    }
    match of(&CLASSES) {
        Some(members) if has(members, member) => Asked::Prelude,
        Some(_) => Asked::Nothing,
        None => Asked::NoClass,
    }
}
