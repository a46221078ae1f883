"""Frames as the protocol page (1.3, 1.6) shows them."""

USER = "0x1111111111111111111111111111111111111111"
NOW = 1_791_318_880_000  # just after the latest of them

TRADES = (
    b'{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"84143.0","sz":"0.00036","time":1790232216193,'
    b'"hash":"0x7ab608dad75f7ce37c2f044516391f02023a00c072529bb51e7eb42d965356ce","tid":1045359869404765,'
    b'"users":["0x9aa589355bf745db9784c8ef3c646360f11b58af","0x8269c0a4f5f1a14582e0aa46856a234893c41970"]}]}'
)
BOOK = (
    b'{"channel":"l2Book","data":{"coin":"BTC","time":1790232236546,"levels":[[{"px":"84143.0","sz":"10.25923","n":36},'
    b'{"px":"84142.0","sz":"1.65875","n":7}],[{"px":"84144.0","sz":"50.66449","n":18}]]}}'
)
BBO = (
    b'{"channel":"bbo","data":{"coin":"BTC","time":1790232237145,"bbo":[{"px":"84143.0","sz":"10.25923","n":36},'
    b'{"px":"84144.0","sz":"50.66422","n":18}]}}'
)
CANDLE = (
    b'{"channel":"candle","data":{"t":1790232180000,"T":1790232239999,"s":"BTC","i":"1m","o":"84143.0","c":"84143.0",'
    b'"h":"84144.0","l":"84143.0","v":"14.27847","n":114}}'
)
CTX = (
    b'{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000018952","openInterest":"36585.31848",'
    b'"prevDayPx":"86627.0","dayNtlVlm":"4161029539.6949653625","premium":"-0.0006413454","oraclePx":"84198.0",'
    b'"markPx":"84148.0","midPx":"84143.5","impactPxs":["84143.0","84144.0"],"dayBaseVlm":"49116.08533"}}}'
)
FILL = (
    b'{"coin":"BTC","px":"83843.0","sz":"0.31975","side":"A","time":1790357129742,"startPosition":"1.5197585293",'
    b'"dir":"Close Long","closedPnl":"86.62649561","hash":"0xaa","oid":556657630865,"crossed":true,"fee":"12.063959",'
    b'"tid":246814713305894,"cloid":"0x1234567890abcdef1234567890abcdef","feeToken":"USDC","twapId":null}'
)
FILLS = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","fills":[' + FILL + b"]}}"
SNAPSHOT = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","isSnapshot":true,"fills":[' + FILL + b"]}}"
NO_FILLS = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","isSnapshot":true,"fills":[]}}'
USER_FILLS = b'{"channel":"user","data":{"fills":[' + FILL + b"]}}"
UPDATES = (
    b'{"channel":"orderUpdates","data":[{"order":{"coin":"BTC","side":"B","limitPx":"83000.0","sz":"0.01",'
    b'"oid":556696349186,"timestamp":1790360256851,"origSz":"0.01","cloid":"0x1234567890abcdef1234567890abcdef"},'
    b'"status":"open","statusTimestamp":1790360256851},{"order":{"coin":"ETH","side":"A","limitPx":"2822.5","sz":"0.01",'
    b'"oid":62014739273,"timestamp":1791318870000,"origSz":"0.01","reduceOnly":true},"status":"reduceOnlyCanceled",'
    b'"statusTimestamp":1791318879266}]}'
)


def swap(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert old in raw
    return raw.replace(old, new, 1)
