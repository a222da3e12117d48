"""What the codes of the worker mean in Chinese: reasons of a task's status, and faults of a form. Codes are stable.

The worker's own words are English and stay beside them: they have the figures, and the remedy.
"""

from worker.console.languages import Language

REASONS = {
    # how it goes
    "created": "任务已创建",
    "dispatched": "已派发",
    "waiting-for-quota": "等待项目配额",
    "admitted": "已有配额,等待派发",
    "queued": "排队中",
    "deploying": "正在部署",
    "running": "训练中",
    "trained": "训练成功,正在导出模型",
    "completed": "已完成,模型已在仓库中",
    # what its user asked for, and why it was not done
    "pause-requested": "已请求暂停",
    "paused-by-user": "用户已暂停,可以继续",
    "resume-requested": "已请求继续",
    "resumed": "已继续",
    "stop-requested": "已请求终止",
    "stopped-by-user": "用户已终止,不能继续",
    "deleted": "已删除训练文件",
    "pause-not-allowed": "当前阶段不能暂停",
    "resume-not-allowed": "当前阶段不能继续",
    "export-not-allowed": "当前阶段不能导出",
    "delete-not-allowed": "任务结束后才能删除",
    "too-late-to-stop": "训练已结束,来不及终止",
    "too-late-to-pause": "训练已结束,来不及暂停",
    "export-impossible": "无法重新导出",
    # form, data, fee
    "invalid-form": "表单有误",
    "conflict": "同一任务已有另一份表单,以先提交的为准",
    "dataset-not-allowed": "项目无权使用该数据集",
    "dataset-rejected": "数据集未通过校验",
    "preset-rejected": "预置数据集未通过校验",
    "preset-too-small": "预置样本不足",
    "nothing-to-train": "没有可训练的样本",
    "cost-unknown": "费用无法确定",
    "max-cost-currency": "费用上限的币种不符",
    "max-cost-exceeded": "费用超过上限",
    "quota-too-small": "所需超过项目一整天的配额",
    "quote-unknown": "没有该报价",
    "quote-of-another-task": "报价属于其他任务",
    "quote-incomplete": "报价不完整",
    "quote-changed": "数据或表单与报价不符",
    "quote-expired": "报价已过期,价格已变",
    "unreadable-sample": "样本无法读取",
    "template-refuses-sample": "对话模板不接受该样本",
    "dataset-changed": "数据集文件已改变",
    "dataset-gone": "数据集文件已不存在",
    "loss-diverged": "损失发散",
    "not-available": "不可用",
    "batch-not-divisible": "批大小不能整除",
    "out-of-memory": "显存不足",
    # machine, engine, installation
    "host-out-of-memory": "内存不足",
    "killed": "训练进程被强制结束",
    "crashed": "训练进程崩溃",
    "disk-full": "磁盘已满",
    "gpu-fault": "GPU 故障",
    "communication-failed": "GPU 之间通信失败",
    "bucket-unavailable": "存储桶没有响应",
    "time-limit": "超过时间上限",
    "interrupted": "训练被执行引擎中断",
    "preempted": "训练被抢占",
    "node-failed": "节点故障",
    "stalled": "训练没有进展",
    "job-lost": "训练作业丢失",
    "superseded": "作业被重复启动",
    "cannot-begin": "训练程序无法启动",
    "plan-missing": "训练计划丢失",
    "plan-unusable": "训练计划无法使用",
    "plan-differs": "训练计划不一致",
    "base-model-missing": "存储桶中没有基础模型",
    "model-refused": "模型被拒绝加载",
    "model-unusable": "模型无法使用",
    "merge-differs": "合并后的模型输出不一致",
    "packing-leaks": "该模型不支持样本打包",
    "checkpoint-missing": "检查点丢失",
    "checkpoint-broken": "检查点损坏",
    "trainer-error": "训练程序出错",
    "export-refused": "模型无法导出",
    "retries-exhausted": "重试次数已用尽",
    "unknown": "原因不明",
}

FAULTS = {
    "missing-field": "缺少必填项",
    "unknown-field": "没有该字段",
    "wrong-type": "值的类型不符",
    "invalid-json": "不是合法的 JSON",
    "not-an-object": "不是 JSON 对象",
    "duplicate-key": "同一名称出现两次",
    "invalid-format": "格式不符",
    "invalid-length": "长度不符",
    "out-of-range": "超出允许范围",
    "unknown-value": "不是允许的取值",
    "more-faults": "还有更多错误,请先修改以上各处",
    "unknown-training-type": "没有该训练类型",
    "not-published": "该训练类型尚未开放",
    "not-available": "不可用",
    "base-model-choice": "基础模型与已产出的模型只能选一个",
    "unknown-model": "没有该模型",
    "unknown-hyperparameter": "没有该参数",
    "needs-another": "该参数需要同时开启另一参数",
    "duplicate-tag": "标签键重复",
    "duplicate-dataset": "数据集重复",
    "unknown-dataset": "没有该数据集",
    "multiplier-and-sample-count": "重复倍数与抽取样本数只能填一个",
    "tolerance-choice": "比例与条数只能填一个",
    "validation-choice": "随机分割与独立数据集只能选一个",
    "validation-overlaps-training": "验证集与训练集重复",
    "no-preset-dataset": "该训练类型没有预置数据集",
    "conflict": "同一任务已有另一份表单",
}


def reason_in(language: Language, code: str) -> str | None:
    """Return what a reason means; None where the worker's own words are in that language, or the code is new. Pure."""
    return REASONS.get(code) if language == "zh" else None


def fault_in(language: Language, code: str) -> str | None:
    """Return what a fault of a form means; None as in :func:`reason_in`. Pure."""
    return FAULTS.get(code) if language == "zh" else None
