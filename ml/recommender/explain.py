REASON_NEW_CUSTOMER = "Popular in the shop lately; we do not know your purchases yet"
REASON_POPULAR = "Popular in the shop lately"
REASON_BOUGHT_BEFORE = "You bought it before"
REASON_SIMILAR_CUSTOMERS = "Bought by customers with purchases like yours"
