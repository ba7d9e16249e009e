"""The doctor's words in Chinese: what happened, what to do."""

from __future__ import annotations

from collections.abc import Mapping

_ONE_TEXT = "JSON 只序列化一次，签名和报文使用同一段文本。"
_RAW = "对原始值签名，之后只在组装报文时编码一次。"
_ONCE = "每个参数名只传一次。"
_SUFFIX = "在待签名串末尾追加 &key= 和密钥。"
_JOIN = "按 a=1&b=2 的形式拼接。"
_AGREE = "双方约定同一种算法；没有特别说明时用 MD5。"
_UTF_8 = "按 UTF-8 编码后再计算摘要。"
_BOTH = "规范化要在签名和发送之前统一做，或者都不做。"

CHINESE_FRAME: Mapping[str, str] = {
    "right": "签名正确。",
    "wrong": "签名错误，原因如下：",
    "unexplained": "签名错误，已知的错误都无法解释。",
    "mistake": "*",
    "warning": "（提醒）",
    "fields": "    相关字段：{names}",
    "side": "    出错的一方：{side}",
    "signer": "计算签名的一方",
    "reader": "本地：传入的报文或密钥",
    "either": "双方不一致，无法判断是哪一方",
    "to_do": "    处理：{text}",
    "also": "    同样会得到这个签名的还有：{names}",
    "key": "本地密钥：{length} 个字符，SHA-256 前 6 位 {print}",
    "rule": "算法 {algorithm}，参数名排序 {order}",
    "canonical": "待签名串（不含密钥）：\n  {text}",
    "signed": "对方实际签名的串：\n  {text}",
}

CHINESE: Mapping[str, tuple[str, str]] = {
    # what is seen without trying anything
    "sign-missing": ("报文没有签名。", "加上字段 sign（小写），值为计算出的签名。"),
    "sign-misnamed": ("签名放在了别的字段名里，而不是 sign。", "字段名用小写的 sign。"),
    "sign-unclean": ("签名前后带有空格、引号或换行。", "只传十六进制字符，不带其他内容。"),
    "sign-placeholder": (
        "签名是一串 0，是文档示例里的占位内容。",
        "请实际计算签名；文档中没有真实的签名。",
    ),
    "sign-shape": (
        "签名长度或字符与约定的算法不符：MD5 为 32 位十六进制，SHA1 为 40 位，SHA256 为 64 位。",
        "确认对方使用的算法，并检查签名在哪里丢失或多出了字符。",
    ),
    "sign-lowercase": (
        "签名是小写；文档要求大写。",
        "发送前把十六进制摘要转成大写；严格的一方会拒绝小写。",
    ),
    "body-not-utf8": (
        "报文不是 UTF-8 编码（已按 GBK 或单字节读取）。",
        "按 UTF-8 字节对每个值做 URL 编码，并声明 charset=utf-8。",
    ),
    "duplicate-names": ("同一参数名出现了两次，各方取值的方式不同。", _ONCE),
    "ambiguous": (
        "签名正确，但待签名串可以拆成另一组字段。",
        "值里不要出现 &字段名=，参数名用普通标识符；sign() 和 verify() 会拒绝这样的报文（M-04）。",
    ),
    "unexplained": (
        "最可能是双方密钥不同，或者某个值被不可逆地改动过。",
        "先与对方核对密钥长度和指纹，再逐字核对待签名串。",
    ),
    # the key's surroundings
    "previous-key": (
        "使用的是旧密钥。",
        "让签名方换用新密钥；在此之前把旧密钥保留在 previous_keys 中。",
    ),
    "field-as-key": (
        "把报文里的编号（agent_id、pid 或 mch_id）当成了密钥。",
        "使用分配给代理商的密钥签名。",
    ),
    "field-not-sent": (
        "某个字段参加了签名，却没有发送。",
        "参加签名的字段都要发送；待签名串和报文从同一份参数生成。",
    ),
    # fields
    "duplicate-last": ("同一参数名出现两次，只有最后一个参加了签名。", _ONCE),
    "duplicate-first": ("同一参数名出现两次，只有第一个参加了签名。", _ONCE),
    "duplicate-joined": (
        "同一参数名出现两次，其值用逗号连接后参加了签名。",
        "每个参数名只传一次；不要用框架合并过的参数签名。",
    ),
    "body-bom": ("报文开头有 BOM，成了第一个参数名的一部分。", "报文用不带 BOM 的 UTF-8。"),
    "body-newline": (
        "报文末尾有换行，成了最后一个值的一部分。",
        "发送时去掉换行（curl --data-binary 读文件会保留它）。",
    ),
    "body-html-escaped": (
        "报文被 HTML 转义，字段之间是 &amp;。",
        "用表单编码函数生成报文，不要用网页里显示的文本。",
    ),
    "body-entity": (
        "报文的一部分被当成 HTML 实体：&trade 变成了商标符号 ™，&not 变成了 ¬。",
        "用表单编码函数生成报文，不要从网页复制。",
    ),
    "plus-as-space": (
        "签名时是 +，收到后被解码成空格。",
        "报文里的 + 要编码为 %2B；如果本来是空格，就对空格签名，不要对 + 签名。",
    ),
    "space-as-plus": (
        "签名时是空格，收到的却是 +。",
        "按表单规则把 + 解码为空格；空格编码为 + 或 %20，不是 %2B。",
    ),
    "signed-encoded-upper": ("对 URL 编码后的值做了签名（如 %E4%BD%A0）。", _RAW),
    "signed-encoded-lower": ("对 URL 编码（小写十六进制，如 %e4%bd%a0）后的值做了签名。", _RAW),
    "signed-encoded-twice": ("对 URL 编码了两次的值做了签名。", _RAW),
    "double-encoded": (
        "签名用的是原始值，但报文里的值被编码了两次。",
        "只编码一次：HTTP 客户端会自动编码时，不要先自行编码。",
    ),
    "double-decoded": (
        "对方把值解码了两次再计算签名。",
        "只解码一次：框架给出的参数已经解码。",
    ),
    "read-twice": (
        "本地把值解码了两次：原文中的 %25 变成了 %。",
        "只解码一次，或者直接传入原始报文。",
    ),
    "values-trimmed": (
        "签名时去掉了值首尾的空格，发送时却保留着。",
        "签名和发送之前统一去空格，或者都不去。",
    ),
    "zero-dropped": (
        "值为 0 的字段被当成空值漏掉了。",
        "只有不存在或空字符串才不参加签名（不要用真假判断）；0 要参加签名。",
    ),
    "blank-dropped": (
        "只含空格的字段被当成空值漏掉了。",
        "空格要参加签名；最好不要发送这样的字段。",
    ),
    "null-as-text": (
        "空值以单词形式（null、None、undefined）参加了签名。",
        "空值不参加签名。",
    ),
    "null-sent": (
        "签名方的空值以单词形式（null、None、undefined）发送了出去。",
        "空字段也不要放进报文。",
    ),
    "boolean-spelling": (
        "布尔值签名时的写法与发送时不同。",
        "先转成文本（true、false），签名和发送使用同一文本。",
    ),
    "envelope-left-out": (
        "method、pid、version 或 agent_id 发送了，却没有参加签名。",
        "先加上公共参数，再签名。",
    ),
    "sign-type-dropped": (
        "签名时去掉了 sign_type（其他网关的做法）。",
        "除 sign 外所有字段都参加签名；本网关没有 sign_type，不要发送。",
    ),
    "sign-type-added": (
        "sign_type=MD5 参加了签名，却没有发送。",
        "本网关没有 sign_type，不要让它参加签名。",
    ),
    "unknown-dropped": (
        "只有文档列出的字段参加了签名。",
        "对收到的全部字段签名和验签：网关随时可能增加字段。",
    ),
    "field-left-out": (
        "有一个字段发送了，却没有参加签名。",
        "除 sign 外所有字段都要签名，并且在发送前最后一步签名。",
    ),
    "names-recased": (
        "签名时参数名的大小写被统一改过（全小写或全大写）。",
        "参数名区分大小写，保持文档的写法。",
    ),
    "numbers-reformatted": (
        "数字在签名前换了写法（1 变 1.0，01 变 1，4.00 变 4）。",
        "保留报文中的原文，验签之前不要转成数字。",
    ),
    "amount-in-yuan": ("签名时金额用了元，发送时用了分。", "签名和发送都用分。"),
    "json-spaces": ("值里的 JSON 被重新序列化，空格不同。", _ONE_TEXT),
    "json-key-order": ("值里的 JSON 被重新序列化，键被排了序。", _ONE_TEXT),
    "json-unicode": (r"值里的 JSON 被重新序列化，\uXXXX 与原字符互换。", _ONE_TEXT),
    "json-slashes": (
        r"值里的 JSON 被重新序列化，\/ 与 / 互换。",
        "JSON 只序列化一次（PHP 用 JSON_UNESCAPED_SLASHES），签名和报文使用同一段文本。",
    ),
    "json-rewritten": ("值里的 JSON 被解析后以另一种风格重新序列化。", _ONE_TEXT),
    "json-as-literal": (
        "对象按语言自身的打印形式（{'a': 1}、[object Object]、Array）参加了签名。",
        "先转成 JSON 文本，签名和发送使用同一文本。",
    ),
    "json-escapes-kept": (
        r"按 JSON 源文本（含 \"、\/、\uXXXX 转义）做了签名。",
        "先解析应答，用解码后的文本验签。",
    ),
    "html-escaped": (
        "值在签名前被 HTML 转义（&amp;、&lt;）。",
        "发送什么就对什么签名；检查是否有输入过滤器。",
    ),
    "html-unescaped": (
        "报文里是 HTML 实体（&amp;），签名用的却是原字符。",
        "发送与签名一致的内容；检查是否有做转义的过滤器。",
    ),
    "line-ends": ("值中的换行在签名和发送之间被改变。", "签名之前统一为 \\n（或不用换行）。"),
    "width-folded": ("签名前全角字符被转成了半角（NFKC）。", _BOTH),
    "unicode-composed": ("签名和发送之间字符的组合形式不同（NFC、NFD）。", _BOTH),
    "emoji-dropped": (
        "签名前表情符号被去掉或替换。",
        "发送什么就对什么签名，使用完整的 UTF-8（MySQL 用 utf8mb4），或者都不用表情。",
    ),
    "invisible-dropped": (
        "不可见字符（零宽字符、BOM）发送了，却没有参加签名。",
        "签名和发送之前清理该值。",
    ),
    "nbsp-as-space": ("发送的是不换行空格，签名的是普通空格。", "签名和发送之前清理该值。"),
    "backslashes": (
        "签名前引号前面的反斜杠被加上或去掉。",
        "检查 addslashes、stripslashes，发送什么就对什么签名。",
    ),
    "mojibake": (
        "UTF-8 被当成其他字符集读取，对乱码做了签名。",
        "按 UTF-8 解码报文（Servlet 在读取第一个参数之前调用 setCharacterEncoding）。",
    ),
    # the string to sign
    "empty-kept": ("空值字段参加了签名（a=&）。", "空值不参加签名。"),
    "sign-included": ("字段 sign 本身参加了签名。", "生成待签名串之前去掉 sign，无论有没有值。"),
    "order-case-ignored": (
        "参数名按不区分大小写排序（文档后来的规则）。",
        "若要这样签名，设置 sort_order=SortOrder.IGNORE_CASE；验签时两种顺序都接受。",
    ),
    "order-ascii": (
        "参数名按 ASCII 码排序（v2.9.0 的规则）。",
        "若要这样签名，设置 sort_order=SortOrder.ASCII；验签时两种顺序都接受。",
    ),
    "sorted-upper-folded": (
        "参数名转成大写后比较，下划线排到了字母之后（openid 在 op_user_id 之前）。",
        "按 ASCII 码比较；要忽略大小写时，转成小写再比较。",
    ),
    "unsorted": ("没有排序，按报文中的顺序做了签名。", "先按参数名排序。"),
    "sorted-pairs": (
        "排序的是“名=值”整体，而不是参数名（a1= 排在 a= 之前）。",
        "先对参数名排序，再拼接。",
    ),
    "sorted-locale": (
        "按语言区域规则排序，对下划线的处理不同。",
        "按字符编码比较（C# 用 StringComparer.Ordinal，Java 用 String.compareTo，PHP 用 ksort）。",
    ),
    "sorted-descending": ("参数名按从 z 到 a 排序。", "按升序排序。"),
    "sorted-by-value": ("按值排了序。", "按参数名排序（PHP 用 ksort，不是 sort 或 asort）。"),
    "sorted-by-length": ("按参数名长度排了序。", "按 ASCII 码排序。"),
    "trailing-ampersand": (
        "最后一个字段与密钥之间多了一个 &（&&key=）。",
        "追加 &key= 之前去掉末尾的 &。",
    ),
    "wire-signed": (
        "直接对发送的报文（已编码或未排序）做了签名。",
        "对排序后的原始值签名，再编码。",
    ),
    "text-url-encoded": (
        "整个待签名串被 URL 编码。",
        "直接对待签名串签名（PHP 的 http_build_query 会编码，请手工拼接）。",
    ),
    "text-entity": (
        "待签名串的一部分被当成 HTML 实体：&trade 变成了商标符号 ™，&not 变成了 ¬。",
        "待签名串不要经过网页或 HTML 解码。",
    ),
    "text-html-escaped": ("待签名串被 HTML 转义，字段之间是 &amp;。", "用普通的 & 拼接。"),
    "leading-mark": ("待签名串以 &、? 或 BOM 开头。", "从第一个参数名开始。"),
    "text-newline": (
        "待签名串与密钥之间有换行（echo 或多行文本造成）。",
        "去掉换行再签名（echo -n）。",
    ),
    "values-quoted": ('值被加上了引号（a="1"）。', "按 名=值 拼接，不加引号。"),
    "other-separators": ("字段没有用 = 和 & 连接。", _JOIN),
    "values-only": ("只拼接了值，没有参数名。", _JOIN),
    "text-json": ("对参数的 JSON 做了签名。", "即使报文是 JSON，也按 a=1&b=2 的形式拼接。"),
    "text-recased": ("整个待签名串被转成小写或大写。", "只有摘要转成大写。"),
    # key, bytes, digest
    "own-key-unclean": (
        "本地传入的密钥带有不属于它的空格、引号、换行或 BOM。",
        "在保存密钥的地方清理它。",
    ),
    "key-newline": ("签名方的密钥末尾带有换行。", "从文件或变量读取密钥时去掉首尾空白。"),
    "key-crlf": ("签名方的密钥末尾带有回车。", "读取密钥时去掉首尾空白；文件使用 LF 换行。"),
    "key-bom": ("签名方的密钥开头带有 BOM。", "密钥文件保存为不带 BOM 的 UTF-8。"),
    "key-blanks": ("签名方的密钥首尾带有空格。", "去掉空格；检查复制的内容。"),
    "key-quotes": ("签名方的密钥带有引号。", "去掉配置中的引号（Docker 的 env 文件会保留引号）。"),
    "key-braces": (
        "签名方把密钥放在括号里，像文档的占位符 {KEY}。",
        "替换占位符时连括号一起替换。",
    ),
    "key-recased": ("密钥的大小写被改过（全小写或全大写）。", "按分配时的原样使用密钥。"),
    "key-cut": ("双方密钥首尾相差一个字符，或其中一个被截断。", "核对长度，重新复制密钥。"),
    "key-digested": ("把密钥的摘要当成了密钥。", "使用密钥本身。"),
    "key-decoded": (
        "密钥先被按十六进制或 base64 解码，或者被编码成 base64。",
        "直接使用密钥的字符。",
    ),
    "key-url-encoded": ("密钥被 URL 编码。", "原样追加密钥。"),
    "algorithm-md5": ("签名用的是 MD5。", _AGREE),
    "algorithm-sha1": ("签名用的是 SHA1。", _AGREE),
    "algorithm-sha256": ("签名用的是 SHA256。", _AGREE),
    "algorithm-hmac-sha256": ("签名用的是 HMAC-SHA256。", _AGREE),
    "hmac-without-suffix": (
        "计算 HMAC-SHA256 时没有追加 &key=。",
        "使用 HMAC 时同样要追加 &key= 和密钥。",
    ),
    "algorithm-other": (
        "使用了文档没有的算法（HMAC-MD5、SHA512 等）。",
        "使用 MD5，或客服为代理商设定的算法。",
    ),
    "key-bare": ("密钥直接追加，没有 &key=。", _SUFFIX),
    "key-without-ampersand": ("追加的是 key=，前面少了 &。", _SUFFIX),
    "key-without-name": ("密钥追加在 & 之后，没有名称。", _SUFFIX),
    "key-prepended": ("密钥放在了待签名串前面。", _SUFFIX),
    "key-both-ends": ("待签名串两端都加了密钥。", "只" + _SUFFIX),
    "key-name-case": ("追加的是 &KEY= 或 &Key=。", "使用小写的 &key=。"),
    "key-other-name": ("密钥以别的名称追加（secret、appkey 等）。", "使用 &key=。"),
    "key-sorted-in": ("密钥与字段一起参加了排序。", "排序之后再" + _SUFFIX),
    "key-missing": ("没有追加密钥，或密钥为空。", "先检查密钥配置是否读到，然后" + _SUFFIX),
    "key-not-last": ("密钥之后还有内容（& 或换行）。", "以密钥结尾。"),
    "whole-recased": ("连同密钥的整个串在计算摘要前被转成小写或大写。", "只有摘要转成大写。"),
    "whole-url-encoded": ("连同密钥的整个串在计算摘要前被 URL 编码。", "对原始文本计算摘要。"),
    "gbk": ("按 GBK 计算了摘要。", _UTF_8),
    "latin-1": ("按 Latin-1 计算了摘要，中文变成了问号。", _UTF_8),
    "ascii-only": ("计算摘要前 ASCII 以外的字符都被丢弃。", _UTF_8),
    "utf-16": ("按 UTF-16 计算了摘要（C# 的 Encoding.Unicode）。", _UTF_8),
    "emoji-cesu8": (
        "表情符号按两个代理项、各三个字节计算（CESU-8、modified UTF-8）。",
        "使用标准 UTF-8，一个表情占四个字节。",
    ),
    "digest-of-digest": ("对摘要又计算了一次摘要。", "只计算一次。"),
    "digest-base64": ("摘要写成了 base64。", "写成大写的十六进制。"),
    "digest-half": ("只发送了摘要的一部分（如 16 位 MD5）。", "发送全部十六进制字符。"),
    "digest-zeros-dropped": (
        "摘要转成十六进制时丢了 0，或多了 ffffff。",
        "每个字节写两位十六进制（Java 对 b & 0xff 用 %02x，不要用 BigInteger.toString）。",
    ),
    "sign-damaged": (
        "签名只差丢失或多出的几个字符，其余正确。",
        "检查在哪里被截断或复制错：字段太短、换行、手误。",
    ),
}
