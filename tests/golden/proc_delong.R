# Reference values of DeLong's variance, interval and paired test, from R's pROC.
# Renew with:  Rscript tests/golden/proc_delong.R INPUT.csv > OUTPUT.csv
# INPUT has a column `label` and, from the first column after it on, columns of scores.
suppressPackageStartupMessages(library(pROC))
table <- read.csv(commandArgs(trailingOnly = TRUE)[1])
scores <- names(table)[(which(names(table) == "label") + 1):ncol(table)]
curves <- lapply(table[scores], function(s) roc(table$label, s, levels = c(0, 1), direction = "<", quiet = TRUE))
cat("first,second,auc,variance,low,high,z,p\n")
for (i in scores) {
  interval <- ci.auc(curves[[i]], method = "delong")
  cat(sprintf("%s,,%.15g,%.15g,%.15g,%.15g,,\n", i, interval[2], var(curves[[i]]), interval[1], interval[3]))
}
for (i in scores) for (j in scores) if (i < j) {
  test <- roc.test(curves[[i]], curves[[j]], method = "delong", paired = TRUE)
  cat(sprintf("%s,%s,,,%.15g,%.15g,%.15g,%.15g\n", i, j, test$conf.int[1], test$conf.int[2], test$statistic, test$p.value))
}
